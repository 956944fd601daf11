//! Reads the registers of a stopped tracee: `PTRACE_GETREGS`, on aarch64 `PTRACE_GETREGSET`.

use std::io;

use crate::process::Registers;

/// The registers of a thread that the calling thread traces and that has stopped.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) fn read(thread: i32) -> io::Result<Registers> {
    let raw = nix::sys::ptrace::getregs(nix::unistd::Pid::from_raw(thread))?;
    // The System V ABI of x86-64 numbers registers in an order of its own.
    #[cfg(target_arch = "x86_64")]
    let registers = Registers::new(
        raw.rip,
        &[
            raw.rax, raw.rdx, raw.rcx, raw.rbx, raw.rsi, raw.rdi, raw.rbp, raw.rsp, raw.r8, raw.r9, raw.r10, raw.r11,
            raw.r12, raw.r13, raw.r14, raw.r15,
        ],
    );
    // A call that ends with one of these is made again (linux/errno.h, ERESTARTSYS to ERESTART_RESTARTBLOCK).
    #[cfg(target_arch = "x86_64")]
    return Ok(registers.with_interrupted(match raw.rax.cast_signed() {
        -516..=-512 => u64::try_from(raw.orig_rax.cast_signed()).ok(),
        _ => None,
    }));
    // There the kernel goes back to the instruction before it stops the thread (arch/arm64/kernel/signal.c).
    #[cfg(target_arch = "aarch64")]
    {
        let mut values = [raw.sp; 32];
        values[..31].copy_from_slice(&raw.regs);
        Ok(Registers::new(raw.pc, &values))
    }
}

/// Not known how.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn read(_thread: i32) -> io::Result<Registers> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use crate::process::linux::testing::Target;

    #[test]
    fn a_held_thread_shows_its_registers() {
        let target = Target::shell("echo ready; read line");
        let process = target.process();
        let held = process.pause_all().unwrap();
        let registers = held.registers(process.pid().unsigned_abs().into()).unwrap();
        let mappings = process.maps().unwrap();
        let of = |address| mappings.iter().find(|mapping| mapping.contains(address)).unwrap();
        assert!(of(registers.pc).executable);
        let sp = if cfg!(target_arch = "aarch64") { 31 } else { 7 };
        assert_eq!(of(registers.get(sp).unwrap()).label.as_deref(), Some("[stack]"));
        assert!(held.registers(1).is_err());
        drop(held);
        let held = process.pause_thread(process.pid().unsigned_abs().into()).unwrap();
        // It may be on its way back to where it slept, but not on another stack.
        let again = held.registers().unwrap();
        assert_eq!(of(again.get(sp).unwrap()).label.as_deref(), Some("[stack]"));
        assert!(of(again.pc).executable);
    }
}
