//! How exactly a sleep of ours ends.

use nix::sys::prctl;

/// From now on sleeps of the calling thread end as soon as the system can, not up to 50 µs later together with others'
/// (`PR_SET_TIMERSLACK`). Programs that it starts afterwards would inherit that, so it is for when they have been
/// started.
pub fn sharpen_sleep() {
    if let Err(error) = prctl::set_timerslack(1) {
        log::debug!("sleeps stay coarse: {error}");
    }
}
