//! Signals: those that end the live view, and the one that says that it was stopped.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};

use super::{Message, lock};

/// Signals that end us, and the one that says that we were stopped.
#[derive(Default)]
pub(super) struct Signals {
    pub(super) stop: Arc<AtomicBool>,
    first: Arc<Mutex<Option<i32>>>,
}

impl Signals {
    pub(super) fn forward_to(sender: &SyncSender<Message>) -> anyhow::Result<Self> {
        let signals = Self::default();
        #[cfg(unix)]
        {
            use std::sync::atomic::Ordering;

            use anyhow::Context;
            use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM};
            let (stop, first, sender) = (Arc::clone(&signals.stop), Arc::clone(&signals.first), sender.clone());
            let mut received = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP, SIGCONT])
                .context("cannot take over signals")?;
            std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
                for signal in received.forever() {
                    if signal != SIGCONT {
                        lock(&first).get_or_insert(signal);
                        stop.store(true, Ordering::Relaxed);
                    }
                    if sender.send(Message::Signal(signal)).is_err() {
                        return;
                    }
                }
            })?;
        }
        #[cfg(not(unix))]
        let _ = sender;
        Ok(signals)
    }

    pub(super) fn first(&self) -> Option<i32> {
        *lock(&self.first)
    }
}
