// `record --mode offcpu`: how long threads are blocked, and where. A part of program.bpf.c, whose programs are loaded
// in place of the others there.

// Flags of a record: the thread goes to sleep, and the record has its stack; it was woken.
#define BLOCKED (1 << 16)
#define WOKE (1 << 17)

// `TASK_DEAD` (include/linux/sched.h): it leaves its CPU for ever.
#define DEAD 0x80

// Before the frames of a `BLOCKED` record stand its system call and the memory that this points to.
#define CALL_SLOTS 4
#define COPIED 64

// Numbers of system calls whose arguments point to what tells what is waited for (asm/unistd_64.h).
#define CALL_POLL 7
#define CALL_SELECT 23
#define CALL_NANOSLEEP 35
#define CALL_FUTEX 202
#define CALL_CLOCK_NANOSLEEP 230
#define CALL_PSELECT6 270
#define CALL_PPOLL 271

// The order is that of `program.rs`.
struct block {
	// When it began, 0 if the thread was woken since. A thread of a process that has none has slept since before we came.
	__u64 since;
	__u64 run;
	// For how long the thread had waited for a CPU and run in all its life.
	__u64 run_delay;
	__u64 ran;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct block);
} blocks SEC(".maps");

// Puts the system call that the current thread is in into the first slots; a number below 0 where it is in none.
static __always_inline void read_call(struct scratch *s, struct task_struct *task)
{
	struct pt_regs___kernel *registers = (struct pt_regs___kernel *)bpf_task_pt_regs(task);
	__u64 number = registers->orig_ax;
	__u64 first = registers->di, second = registers->si, third = registers->dx, at = 0;
	if (number == CALL_FUTEX)
		// Before a futex of a parking lot stands what it is for.
		at = first - 8;
	else if (number == CALL_POLL || number == CALL_PPOLL || number == CALL_NANOSLEEP)
		at = first;
	else if (number == CALL_SELECT || number == CALL_PSELECT6)
		at = second;
	else if (number == CALL_CLOCK_NANOSLEEP)
		at = third;
	struct slot *slots = s->slots;
	slots[0].words[0] = number;
	slots[0].words[1] = first;
	slots[0].words[2] = second;
	slots[0].words[3] = third;
	slots[1].words[0] = registers->r10;
	slots[1].words[1] = registers->r8;
	slots[1].words[2] = registers->r9;
	__builtin_memset(&slots[2], 0, COPIED);
	// What stands at the end of a page may be shorter.
	__u64 copied = 0;
	if (at && !bpf_probe_read_user(&slots[2], COPIED, (void *)at))
		copied = COPIED;
	else if (at && !bpf_probe_read_user(&slots[2], 16, (void *)at))
		copied = 16;
	slots[1].words[3] = copied ? at : 0;
	s->record.delay = copied;
	s->record.slots = CALL_SLOTS;
}

static __always_inline void put_end(struct process *process, __u32 tgid, __u32 tid, __u64 time, __u64 since)
{
	__u32 zero = 0;
	struct record record = {};
	record.time = time;
	record.weight = since ? time - since : 0;
	record.flags = WOKE;
	record.tgid = tgid;
	record.tid = tid;
	record.run = process->run;
	struct counts *counts = bpf_map_lookup_elem(&counters, &zero);
	if (bpf_ringbuf_output(&records, &record, sizeof(record), BPF_RB_NO_WAKEUP) && counts)
		__sync_fetch_and_add(&counts->dropped, 1);
}

// A thread is woken: from now on it wants a CPU.
SEC("raw_tp/sched_wakeup")
int end_block(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx->args[0];
	__u32 tgid = 0, tid = 0;
	bpf_probe_read_kernel(&tgid, sizeof(tgid), &task->tgid);
	struct process *process = bpf_map_lookup_elem(&processes, &tgid);
	if (!process)
		return 0;
	bpf_probe_read_kernel(&tid, sizeof(tid), &task->pid);
	struct block *block = bpf_map_lookup_elem(&blocks, &tid);
	if (block && block->run == process->run) {
		if (block->since)
			put_end(process, tgid, tid, bpf_ktime_get_ns(), block->since);
		block->since = 0;
		return 0;
	}
	struct block none = { .run = process->run };
	if (block)
		*block = none;
	else
		bpf_map_update_elem(&blocks, &tid, &none, BPF_ANY);
	put_end(process, tgid, tid, bpf_ktime_get_ns(), 0);
	return 0;
}

// A thread leaves its CPU and does not want it back: its state says that it waits. One that was preempted, or would run
// on, is not blocked, whatever it is about to wait for.
SEC("raw_tp/sched_switch")
int begin_block(struct bpf_raw_tracepoint_args *ctx)
{
	struct process *process = current_process();
	if (!process)
		return 0;
	__u64 id = bpf_get_current_pid_tgid();
	__u32 tgid = id >> 32, tid = id;
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	__u64 now = bpf_ktime_get_ns(), run_delay = task->sched_info.run_delay, ran = task->se.sum_exec_runtime;
	struct block *known = bpf_map_lookup_elem(&blocks, &tid);
	if (known && known->run == process->run && known->since) {
		// That it was woken was not told, as happens: some switches and wakings reach no tracepoint, those in which a
		// thread of a virtual machine's agent is interrupted. Since then it has waited for a CPU and run.
		__u64 time = now - (run_delay - known->run_delay) - (ran - known->ran);
		put_end(process, tgid, tid, time > known->since ? time : known->since, known->since);
		known->since = 0;
	}
	__u32 state = task->__state;
	if (ctx->args[0] || !state || (state & DEAD))
		return 0;
	struct thread *thread = thread_of(task, process, 0);
	struct walk walk = {};
	struct scratch *s = begin_record(&walk, process, BLOCKED);
	if (!thread || !s)
		return 0;
	s->record.time = now;
	s->record.task_state = state;
	// In its place where there is one, which costs less than an update.
	struct block block = { .since = now, .run = process->run, .run_delay = run_delay, .ran = ran };
	if (known)
		*known = block;
	else
		bpf_map_update_elem(&blocks, &tid, &block, BPF_ANY);
	if (!begin_stack(&walk, process, thread))
		return 0;
	read_call(s, task);
	read_frames(&walk);
	put_record(s);
	return 0;
}
