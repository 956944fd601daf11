//! On which CPU a thread is, as its own memory says.
//!
//! Linux writes the CPU of a thread into a `struct rseq` of it (restartable sequences, rseq(2)) each time that the
//! thread goes back to user space on another one. glibc registers that area for every thread (2.35 and later) and
//! exports how far it is from the thread pointer (`__rseq_offset`, sys/rseq.h). So it can be read together with the
//! thread's stack, for a fraction of what a look at the thread's `stat` file costs.

use crate::binary::{Architecture, Binary, MappedFile};
use crate::memory::Memory;
use crate::process::{Mapping, Process, page_size};
use crate::sampler::attach::mapped_part;

/// `cpu_id` in the kernel's `struct rseq` (linux/rseq.h).
const CPU_ID: u64 = 4;
/// The least `__rseq_size` of an area that is registered: zero says that none is.
const LEAST_SIZE: u32 = 8;
/// Where the block that the thread pointer points to has its own address (`tcbhead_t.self`, sysdeps/x86_64/nptl/tls.h
/// in glibc).
const SELF: u64 = 16;
/// Further away from the thread pointer than that no C library keeps it, in bytes.
const FURTHEST: u64 = 64 * 1024;
/// More than that are no CPUs: `cpu_id` is −1 or −2 where nobody writes it.
const MOST_CPUS: u32 = 1 << 16;

/// How far a thread's `cpu_id` is from what `pthread_self` says, in the target.
#[derive(Debug, Clone, Copy)]
pub(in crate::sampler) struct CpuWord {
    offset: u64,
}

impl CpuWord {
    /// Asks the C library of `process`; `None` where it is not glibc, is an older one, was told not to, or where
    /// `pthread_self` is not the thread pointer (as it is on x86-64 only, of what we know).
    pub(in crate::sampler) fn find(process: &Process) -> Option<Self> {
        if !cfg!(target_arch = "x86_64") {
            return None;
        }
        let mappings = process.maps().ok()?;
        mappings.iter().filter(|mapping| is_loader(mapping)).find_map(|mapping| Self::find_in(process, mapping))
    }

    fn find_in(process: &Process, mapping: &Mapping) -> Option<Self> {
        let file = MappedFile::open(&process.open_mapping(mapping).ok()?).ok()?;
        let binary = Binary::parse(&file, Architecture::HOST).ok()?;
        let bias = binary.bias(mapped_part(mapping, page_size()))?;
        let [offset, size] = binary.exported(&["__rseq_offset", "__rseq_size"])[..] else { return None };
        let memory = process.memory();
        let offset = memory.read_u64(offset?.address.wrapping_add(bias)).ok()?;
        let size = memory.read_u32(size?.address.wrapping_add(bias)).ok()?;
        // The offset has a sign.
        let is_near = offset.wrapping_add(FURTHEST) <= 2 * FURTHEST && offset.is_multiple_of(4);
        (is_near && size >= LEAST_SIZE).then_some(Self { offset: offset.wrapping_add(CPU_ID) })
    }

    /// Where the word of a thread is, by what `pthread_self` says there; `None` if that is not the thread pointer of
    /// anybody.
    pub(in crate::sampler) fn address(self, memory: &impl Memory, pthread: u64) -> Option<u64> {
        let is_thread_pointer = memory.read_u64(pthread.wrapping_add(SELF)).is_ok_and(|itself| itself == pthread);
        is_thread_pointer.then(|| pthread.wrapping_add(self.offset))
    }

    /// The CPU that a word tells.
    pub(in crate::sampler) fn cpu(word: u32) -> Option<usize> {
        (word < MOST_CPUS).then(|| usize::try_from(word).ok()).flatten()
    }
}

/// Whether a mapping is the beginning of what may be the dynamic linker; it is looked at more closely then.
fn is_loader(mapping: &Mapping) -> bool {
    let name = mapping.path.as_deref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
    mapping.file_offset == 0 && name.is_some_and(|name| name.starts_with("ld"))
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use std::os::unix::thread::JoinHandleExt;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::process::OwnCpus;

    #[test]
    fn a_thread_says_on_which_cpu_it_is() {
        let process = Process::open(std::process::id().try_into().unwrap()).unwrap();
        let Some(word) = CpuWord::find(&process) else {
            eprintln!("skipped: this machine's C library is not glibc 2.35 or later");
            return;
        };
        let (go, order) = channel();
        let (done, answer) = channel();
        let thread = std::thread::spawn(move || {
            let mut own = OwnCpus::of_this_thread().unwrap();
            for cpu in order {
                done.send(own.stay_on(cpu)).unwrap();
            }
        });
        let address = word.address(&process.memory(), thread.as_pthread_t()).unwrap();
        assert_eq!(word.address(&process.memory(), thread.as_pthread_t() + 8), None);
        let mut seen = 0;
        for cpu in 0..64 {
            go.send(cpu).unwrap();
            if answer.recv().unwrap() {
                assert_eq!(CpuWord::cpu(process.memory().read_u32(address).unwrap()), Some(cpu));
                seen += 1;
            }
        }
        assert!(seen > 0);
        drop(go);
        thread.join().unwrap();
    }

    #[test]
    fn an_area_that_nobody_writes_tells_nothing() {
        assert_eq!(CpuWord::cpu(3), Some(3));
        for word in [-1_i32, -2] {
            assert_eq!(CpuWord::cpu(word.cast_unsigned()), None);
        }
    }
}
