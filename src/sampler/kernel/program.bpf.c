// The part of the sampler that runs in the kernel: in the timer interrupt of a sampled thread, and at the moment at
// which one leaves its CPU. There the thread stands still and its memory is mapped, so its Python frames are read as
// they are, and put into a ring buffer that `pyspy` empties some times a second.
//
// x86-64. Compiled into program.bpf.o, which a test compares with what this file gives:
//
//     clang-14 -O2 -g -target bpf -I/usr/include/x86_64-linux-gnu -fdebug-compilation-dir=. -c program.bpf.c
//
// Nothing that is read is trusted: a pointer that leads nowhere ends a walk, and every loop is bounded. Where CPython
// keeps things stands in `layout`, which is set before loading; the verifier drops what a version has no use for.

#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>
#include <bpf/bpf_helpers.h>

#define MOST_SLOTS 6144
// So many of them are taken in each visit of the walk. More make the verifier's work longer than the walk gets shorter.
#define FRAMES_A_VISIT 8
#define COMPARED_A_VISIT 4
#define HEAD 256
#define PAGE 4096
#define BLOCK (PAGE + HEAD)
#define STATE_HEAD 512
#define MOST_STATES 1024
#define KNOWN_CODES 8192
// So many that lie side by side can have one hash.
#define CODES_A_HASH 4

// A stack of so many slots or more is kept, so that records that end like it need not have that end. The frames of the
// first two visits are never looked for in it, one further on in the first so many of its slots.
#define LEAST_BASE 32
#define PLAIN_FRAMES (2 * FRAMES_A_VISIT)
#define MOST_SHIFT 64
// Each time that so many more frames were taken one is looked for.
#define SEARCHED_FRAMES 64
// A kept stack is replaced when the records that end like it have become long, but not sooner than after so many.
#define LEAST_USES 16
// So many slots are copied in each visit of the walk.
#define COPIED_SLOTS 128
// A visit that compares may take no frame, and one that copies takes none that was not read before.
#define MOST_VISITS (3 * MOST_SLOTS / FRAMES_A_VISIT + MOST_SLOTS)

// Two frames that are not farther apart than this may lie in one piece of the data stack.
#define NEAR 16384
// A thread whose state was not found is looked for in each of its first samples, and then in one of so many.
#define ALWAYS_SEARCHED 16
#define SEARCHED_EVERY 64
// A thread that had to wait so long for a CPU when it woke up is read when it goes to sleep again, ns.
#define LONG_DELAY 100000
// For code that it does not know the reader of the ring is woken no more often than this, ns.
#define WAKE_EVERY 5000000
// The same for a thread that was not met before: its name is looked up while it lasts.
#define WAKE_FOR_THREADS_EVERY 20000000

// So many bytes at the end of a file's name are part of the evidence of its code.
#define MOST_NAME 64

// A number which no pointer has as its `layout` value: there is no such field.
#define NONE 0xffffffff

// `_Py_THREAD_ATTACHED` (internal/pycore_pystate.h)
#define ATTACHED 1

// Of a native stack: so much is copied at most, and it is read in pieces, of which the first is all of it.
#define MOST_STACK 65536
#define MOST_PIECES 8
// Words of `struct pt_regs` (arch/x86/include/uapi/asm/ptrace.h), and which of them is the stack pointer.
#define REGISTERS 21
#define STACK_POINTER 19
// Frames of the kernel's own stack; it has some thirty in the deepest file system.
#define MOST_KERNEL_FRAMES 64

// The order is that of `layout.rs`.
enum {
	THREADS_HEAD,
	STATE_LENGTH,
	STATE_NEXT,
	STATE_INTERPRETER,
	STATE_THREAD_ID,
	STATE_FRAME,
	STATE_CFRAME,
	CFRAME_FRAME,
	STATE_ATTACHMENT,
	STATE_REQUESTS_GIL,
	FRAME_HEAD,
	FRAME_PREVIOUS,
	FRAME_CODE,
	FRAME_POSITION,
	FRAME_OWNER,
	FRAME_SHIM_1,
	FRAME_SHIM_2,
	FRAME_TRACE,
	FRAME_OBJECT,
	OBJECT_FRAME,
	OBJECT_LINE,
	FRAME_LOCAL_COPY,
	TAG_MASK,
	IN_DATA_STACK,
	CODE_HEAD,
	CODE_NAME,
	CODE_FILENAME,
	CODE_LINE_TABLE,
	CODE_FIRST_LINE,
	CODE_VERSION,
	TEXT_HASH,
	TEXT_LENGTH,
	TEXT_DATA,
	BYTES_DATA,
	LAYOUT_LENGTH,
};

const volatile __u32 layout[LAYOUT_LENGTH];
// The ring wakes its reader when so many bytes are in it.
const volatile __u64 wake_at = 1 << 20;

// After so many interrupts of a thread there is a sample; the first comes after fewer, by chance. A thread that ends
// before it has run for as long as a sample stands for has one as often as its share of that is.
const volatile __u32 interrupts_a_sample = 1;

// With `--native`: how much of a native stack is copied, `MOST_STACK` at most, 0 without; where a frame says that it
// was entered from C (3.11); whether threads without a thread state are recorded too.
const volatile __u32 stack_bound = 0;
const volatile __u32 frame_is_entry = NONE;
const volatile __u32 records_stateless = 0;
// With `--native` and `--idle`: whether it is kept with which registers threads go to sleep.
const volatile __u32 keeps_registers = 0;
// With `--kernel-frames`: whether the kernel's own stack is recorded where the interrupt falls into it.
const volatile __u32 records_kernel = 0;

// What is known of a process, by its number. The order is that of `program.rs`.
struct process {
	__u64 interpreter;
	__u64 holder_at;
	__u64 locked_at;
	__u64 collecting_at;
	__u64 collecting_frame_at;
	// Another value than before: its threads are to be looked for anew.
	__u64 run;
};

// The order is that of `program.rs`.
struct thread {
	__u64 state;
	__u64 run;
	// The period of the event that samples it. A thread may have two, inherited and opened; each has a period of
	// its own, and only one counts.
	__u64 period;
	__u64 run_delay;
	// Time for which it waited for a CPU, which belongs to no stack yet.
	__u64 delay;
	__u32 samples_without_state;
	// Its stack is known of the moment at which it last left its CPU.
	__u8 has_left_stack;
	__u8 is_delayed;
	// Interrupts until its next sample, that one included; 0 before the first.
	__u16 until_sample;
	// When it was started, 0 where that is not known yet: another thread may get its number after it.
	__u64 start_time;
};

// Flags of a record.
#define RAN 1
#define LEFT_CPU 2
#define WAITS 4
#define IS_FULL 8
#define IS_BROKEN 16
#define COLLECTS 32
#define REQUESTS_GIL 64
#define HAS_UNKNOWN_CODE 128
#define IS_OF_NEW_THREAD 256
#define HAS_NATIVE (1 << 18)
#define EXECUTED (1 << 19)
// Its last slots are those of the kept stack `base` from now on; else, where it names one, they are left out and are
// the last ones of that.
#define IS_BASE (1 << 20)

struct slot {
	__u64 words[4];
};

// Flags of a frame's slot, in the upper half of its last word.
#define HAS_EVIDENCE (1U << 31)
#define IS_UNTRACED (1U << 30)
// With `--native`: evaluation of the frame was entered from C (3.11); the slot is no frame but the shim below the
// frames before it, by its address.
#define IS_ENTRY (1U << 29)
#define IS_BORDER (1U << 28)

struct record {
	__u64 time;
	// CPU time that it stands for, ns.
	__u64 weight;
	// Time for which the thread waited for a CPU: after it was last seen leaving one, and otherwise.
	__u64 delay_since_left;
	__u64 delay;
	__u64 state;
	__u64 thread_id;
	__u64 holder;
	__u64 collecting_frame;
	__u32 tgid;
	__u32 tid;
	__u32 flags;
	__u32 slots;
	__u32 attachment;
	union {
		// So many addresses are in the first slots, the innermost first: the kernel's own stack.
		__u32 kernel_frames;
		// Of a `BLOCKED` record the state in which the thread goes to sleep.
		__u32 task_state;
	};
	__u64 run;
	// A kept stack, or 0, and how many of its slots are meant.
	__u64 base;
	__u32 shared;
	__u32 unused;
};

// What follows the slots of a record that `HAS_NATIVE`, before the bytes of the stack, which are the rest of it.
struct native_head {
	// Where the stack ends, or 0 where that is not known.
	__u64 end;
	__u64 registers[REGISTERS];
};

struct scratch {
	struct record record;
	struct slot slots[MOST_SLOTS];
	// Where the native part of a record with all slots goes. A piece of the stack is never longer than all of it.
	__u8 native_part[sizeof(struct native_head) + 2 * MOST_STACK];
	// A page of the data stack, and behind it the beginning of one frame.
	__u8 block[BLOCK + HEAD];
	__u8 state_head[STATE_HEAD];
	__u8 other_state_head[STATE_HEAD];
	__u8 code_head[HEAD];
	__u64 file_name[MOST_NAME / 8];
	__u64 block_start;
	__u64 block_length;
	// The page in `block` had more than one frame in it.
	__u32 reads_page;
	__u64 frame;
	__u64 newer;
	__u64 last_code;
	__u64 salt;
	__u64 found;
	__u64 next;
	__u64 stack_start;
	__u64 piece;
	__u32 stack_length;
	__u32 had_failure;
	// From this slot on none has evidence, nor is one recognized by the evidence of the frame above it.
	__u32 clean_from;
	__u32 last_has_evidence;
	// Frames are looked for in the kept stack.
	__u32 compares;
	// While they are compared with those there: where the first of them is in that, and the next.
	__u32 is_compared;
	// The next one differs from the one there.
	__u32 differs;
	__u32 compared_from;
	__u32 compared;
	// So many frames that were compared, from `compared_from` on, are not among the slots yet.
	__u32 owed;
};

// A stack whose frames have no evidence, kept to be compared with those to come: what of it is in them again need not
// be told.
struct base {
	// 0 if there is none. The upper part is the number of its CPU.
	__u64 id;
	__u64 run;
	__u64 state;
	__u64 generation;
	__u32 tid;
	__u32 slots;
	// How many records end like it, and how many slots the last of them had itself.
	__u32 uses;
	__u32 last_own;
	// Where a frame was in it, less where it was in the record.
	__s64 shift;
	// The last slots are never used: pieces that are copied may be too long.
	struct slot kept[MOST_SLOTS + COPIED_SLOTS];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 24);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct process);
} processes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct thread);
} threads SEC(".maps");

// The registers that a thread left user space with before it went to sleep the last time. The order is that of
// `program.rs`.
struct sleeper {
	__u64 run;
	__u64 registers[REGISTERS];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sleeper);
} sleepers SEC(".maps");

// One for each CPU: larger than a per-CPU map may be.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

// One for each CPU.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct base);
} bases SEC(".maps");

// Code objects of which the reader of the ring knows what they are, each where its hash says. One on probation still
// has its evidence put into each record.
#define ON_PROBATION 1
struct known_codes {
	__u64 keys[KNOWN_CODES];
	// Another number than before: one of them is not known any more.
	__u64 generation;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct known_codes);
} codes SEC(".maps");

struct counts {
	// Records that found no room in the ring.
	__u64 dropped;
	// Samples of threads without a thread state.
	__u64 stateless;
	// When the reader of the ring was woken for code or a thread that it does not know.
	__u64 woken;
	// Threads that were met.
	__u64 threads;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counts);
} counters SEC(".maps");

// What of the kernel's structs is needed; its own type information says where the fields are.
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct sched_info {
	unsigned long long run_delay;
};
struct sched_entity {
	unsigned long long sum_exec_runtime;
};
struct thread_struct {
	unsigned long fsbase;
};
struct mm_struct {
	unsigned long start_stack;
};
struct task_struct {
	unsigned int __state;
	struct mm_struct *mm;
	int pid;
	int tgid;
	struct sched_entity se;
	struct sched_info sched_info;
	unsigned long long start_time;
	struct thread_struct thread;
};
// With a name of its own: that of user space has other fields.
struct pt_regs___kernel {
	unsigned long r10;
	unsigned long r9;
	unsigned long r8;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
	unsigned long orig_ax;
};
#pragma clang attribute pop

struct walk {
	struct scratch *scratch;
	struct known_codes *known;
	struct base *base;
};

static __always_inline __u64 word(const __u8 *bytes)
{
	return *(const __u64 *)bytes;
}

static __always_inline __u32 half(const __u8 *bytes)
{
	return *(const __u32 *)bytes;
}

// A number for the name of a file. What cannot be read counts as zeros.
static __always_inline __u64 file_number(struct scratch *s, __u64 file)
{
	__u64 length = 0;
	bpf_probe_read_user(&length, 8, (void *)(file + layout[TEXT_LENGTH]));
	__u64 size = length < MOST_NAME ? length : MOST_NAME;
	barrier_var(size);
	if (size > MOST_NAME)
		return 0;
	__builtin_memset(s->file_name, 0, sizeof(s->file_name));
	bpf_probe_read_user(s->file_name, size, (void *)(file + layout[TEXT_DATA] + length - size));
	__u64 number = length;
	for (int index = 0; index < MOST_NAME / 8; index++)
		number = number * 31 + s->file_name[index];
	return number;
}

// Reads the fields by which a code object is recognized: it may be gone when the record is looked at.
static __always_inline void add_evidence(struct scratch *s, __u64 code)
{
	__u32 slots = s->record.slots;
	if (slots >= MOST_SLOTS)
		return;
	struct slot *slot = &s->slots[slots];
	s->record.slots = slots + 1;
	__u32 size = layout[CODE_HEAD];
	if (size > HEAD || bpf_probe_read_user(s->code_head, size, (void *)code)) {
		__builtin_memset(slot, 0, sizeof(*slot));
		return;
	}
	__u64 name = word(s->code_head + layout[CODE_NAME]);
	__u64 file = word(s->code_head + layout[CODE_FILENAME]);
	__u64 table = word(s->code_head + layout[CODE_LINE_TABLE]);
	__u64 version = layout[CODE_VERSION] == NONE ? 0 : half(s->code_head + layout[CODE_VERSION]);
	__u64 hash = 0, lines = 0, of_file = 0;
	// A version is one object's alone. Without one what counts is also what the objects hold to which it refers: a
	// program that makes code again and again may get the same addresses each time.
	if (!version) {
		bpf_probe_read_user(&hash, 8, (void *)(name + layout[TEXT_HASH]));
		bpf_probe_read_user(&lines, 8, (void *)(table + layout[BYTES_DATA]));
		of_file = file_number(s, file);
	}
	slot->words[0] = name;
	slot->words[1] = hash;
	slot->words[2] = table + 3 * file + 5 * lines + 7 * of_file;
	slot->words[3] = half(s->code_head + layout[CODE_FIRST_LINE]) | version << 32;
}

// Where the beginning of a frame is in `block`, having read it if it is not there; BLOCK + 1 if it cannot be read.
static __always_inline __u64 find_frame(struct scratch *s, __u64 frame)
{
	__u32 size = layout[FRAME_HEAD];
	__u64 at = frame - s->block_start;
	if (at < BLOCK && at + size <= s->block_length) {
		s->reads_page = 1;
		return at;
	}
	// Frames lie one above the other, so what is below this one is wanted next: all that is in its page, which is there
	// as the frame is. A read beyond it may fail, which costs more than all others together.
	if (layout[IN_DATA_STACK] && s->newer - frame < NEAR) {
		__u64 start = frame & ~(__u64)(PAGE - 1);
		__u64 length = frame + size - start;
		barrier_var(length);
		if (length <= BLOCK && !bpf_probe_read_user(s->block, length, (void *)start)) {
			s->block_start = start;
			s->block_length = length;
			return frame - start;
		}
		s->block_length = 0;
	}
	// Objects of their own lie anywhere, but those that were made one after the other are often neighbours. A page takes
	// half as long again as one of them: it is read where the last one had another of them in it, or this page has the
	// frame above.
	if (!layout[IN_DATA_STACK]) {
		__u64 start = frame & ~(__u64)(PAGE - 1), within = frame - start;
		if ((s->reads_page || s->newer - start < PAGE) && within + size <= PAGE &&
		    !bpf_probe_read_user(s->block, PAGE, (void *)start)) {
			s->reads_page = 0;
			s->block_start = start;
			s->block_length = PAGE;
			return within;
		}
	}
	if (size > HEAD || bpf_probe_read_user(s->block + BLOCK, size, (void *)frame))
		return BLOCK + 1;
	return BLOCK;
}

// With `--native`: the border between two entries of evaluation (3.12+).
static __always_inline void add_border(struct scratch *s, __u64 shim)
{
	__u32 slots = s->record.slots;
	if (slots >= MOST_SLOTS)
		return;
	struct slot *slot = &s->slots[slots];
	slot->words[0] = shim;
	slot->words[1] = 0;
	slot->words[2] = 0;
	slot->words[3] = (__u64)IS_BORDER << 32;
	s->record.slots = slots + 1;
}

// The line that the frame object of a frame says, or 0. Not static, so that it is verified once, not for
// every place that calls it.
__attribute__((noinline)) __u32 line_of(__u64 object, __u64 frame)
{
	__u64 owner = 0;
	__u32 line = 0;
	if (!bpf_probe_read_user(&owner, 8, (void *)(object + layout[OBJECT_FRAME])) && owner == frame)
		bpf_probe_read_user(&line, 4, (void *)(object + layout[OBJECT_LINE]));
	return line;
}

// Reads the frame that begins at this place in `block`. 0 if it is none but a border between two entries of evaluation.
static __always_inline int read_slot(struct scratch *s, __u64 at, __u64 frame, struct slot *slot, __u64 *previous)
{
	const __u8 *head = s->block + at;
	*previous = word(head + layout[FRAME_PREVIOUS]);
	if (layout[FRAME_OWNER] != NONE) {
		__u32 owner = *(head + layout[FRAME_OWNER]);
		if (owner == layout[FRAME_SHIM_1] || owner == layout[FRAME_SHIM_2])
			return 0;
	}
	__u32 line = 0, extra = 0;
	if (layout[FRAME_TRACE] != NONE && !word(head + layout[FRAME_TRACE]))
		extra |= IS_UNTRACED;
	if (layout[FRAME_LOCAL_COPY] != NONE)
		extra |= half(head + layout[FRAME_LOCAL_COPY]) & 0xffffff;
	if (stack_bound && frame_is_entry != NONE && *(head + frame_is_entry))
		extra |= IS_ENTRY;
	if (layout[FRAME_OBJECT] != NONE) {
		__u64 object = word(head + layout[FRAME_OBJECT]);
		// A call costs more than all the rest of a frame.
		if (object)
			line = line_of(object, frame);
	}
	slot->words[0] = frame;
	slot->words[1] = word(head + layout[FRAME_CODE]) & ~(__u64)layout[TAG_MASK];
	slot->words[2] = word(head + layout[FRAME_POSITION]);
	slot->words[3] = line | (__u64)extra << 32;
	return 1;
}

// What is known of the code object with this key: that, perhaps on probation; anything else where it is not known.
static __always_inline __u64 find_code(struct known_codes *codes, __u64 key)
{
	__u64 first = (key >> 4 ^ key >> 17) & (KNOWN_CODES - CODES_A_HASH), known = codes->keys[first];
	for (int at = 1; at < CODES_A_HASH; at++)
		if ((known & ~(__u64)ON_PROBATION) != key)
			known = codes->keys[first + at];
	return known;
}

// Takes the next frames. What each of them needs is kept from one to the next without going through the map. Whether
// there are no more.
static __always_inline int take_frames(struct walk *walk)
{
	struct scratch *s = walk->scratch;
	struct known_codes *codes = walk->known;
	__u64 frame = s->frame, salt = s->salt, last_code = s->last_code, slots = s->record.slots;
#pragma clang loop unroll(disable)
	for (int turn = 0; turn < FRAMES_A_VISIT; turn++) {
		if (!frame)
			break;
		if (slots >= MOST_SLOTS - 1) {
			s->record.flags |= IS_FULL;
			break;
		}
		__u64 at = find_frame(s, frame);
		if (at > BLOCK) {
			s->record.flags |= IS_BROKEN;
			break;
		}
		s->newer = frame;
		struct slot *slot = &s->slots[slots];
		__u64 previous;
		if (!read_slot(s, at, frame, slot, &previous)) {
			if (stack_bound) {
				s->record.slots = slots;
				add_border(s, frame);
				slots = s->record.slots;
			}
			// They are rare: to go on after them would double the verifier's work for each frame.
			frame = previous;
			break;
		}
		frame = previous;
		slots++;
		__u64 code = slot->words[1];
		if (code != last_code) {
			last_code = code;
			s->last_has_evidence = 0;
			__u64 key = code + salt;
			__u64 known = find_code(codes, key);
			if (known != key) {
				slot->words[3] |= (__u64)HAS_EVIDENCE << 32;
				if (known != (key | ON_PROBATION))
					s->record.flags |= HAS_UNKNOWN_CODE;
				s->record.slots = slots;
				add_evidence(s, code);
				slots = s->record.slots;
				s->last_has_evidence = 1;
			}
		}
		if (s->last_has_evidence)
			s->clean_from = slots;
	}
	s->frame = frame;
	s->last_code = last_code;
	s->record.slots = slots;
	return !frame || s->record.flags & (IS_FULL | IS_BROKEN);
}

// Whether the next frame is in this slot of the kept stack.
static __always_inline int begins_at(struct walk *walk, __u64 at)
{
	struct scratch *s = walk->scratch;
	struct base *base = walk->base;
	barrier_var(at);
	if (!base || at >= MOST_SLOTS || at >= base->slots || base->kept[at].words[0] != s->frame)
		return 0;
	s->compared_from = at;
	s->compared = at;
	s->is_compared = 1;
	return 1;
}

// Looks where the next frame is in the kept stack. What is found is compared from the next visit on.
static __always_inline int find_shared(struct walk *walk)
{
	struct scratch *s = walk->scratch;
	struct base *base = walk->base;
	__u64 frame = s->frame, slots = s->record.slots, at;
	if (begins_at(walk, slots + base->shift))
		return 1;
	if (slots % SEARCHED_FRAMES >= PLAIN_FRAMES + FRAMES_A_VISIT)
		return 0;
#pragma clang loop unroll(disable)
	for (at = 0; at < MOST_SHIFT; at++)
		if (base->kept[at].words[0] == frame)
			break;
	return begins_at(walk, at);
}

// Compares the next frames with those of the kept stack. Whether there are no more.
static __always_inline int compare_frames(struct walk *walk)
{
	struct scratch *s = walk->scratch;
	struct base *base = walk->base;
	__u64 frame = s->frame, compared = s->compared, length = base->slots;
	int differs = 0;
#pragma clang loop unroll(disable)
	for (int turn = 0; turn < COMPARED_A_VISIT; turn++) {
		if (!frame)
			break;
		struct slot slot;
		__u64 previous, at = find_frame(s, frame);
		// What cannot be read is told when the frames are taken.
		if (at > BLOCK) {
			differs = 1;
			break;
		}
		s->newer = frame;
		if (!read_slot(s, at, frame, &slot, &previous)) {
			frame = previous;
			break;
		}
		// So that it is counted, not the pointer to what it counts: the verifier is to see that it is bounded.
		barrier_var(compared);
		if (compared >= MOST_SLOTS || compared >= length) {
			differs = 1;
			break;
		}
		struct slot *kept = &base->kept[compared];
		if (kept->words[0] != frame || kept->words[1] != slot.words[1] || kept->words[2] != slot.words[2] ||
		    kept->words[3] != slot.words[3]) {
			differs = 1;
			break;
		}
		compared++;
		frame = previous;
	}
	s->frame = frame;
	s->compared = compared;
	if (!frame && compared == length)
		return 1;
	if (differs || !frame) {
		s->differs = 1;
		s->is_compared = 0;
		s->owed = compared - s->compared_from;
	}
	return 0;
}

// Takes the next piece of the frames that were compared and are to be told after all.
static __always_inline void take_compared(struct walk *walk)
{
	struct scratch *s = walk->scratch;
	__u64 slots = s->record.slots, from = s->compared_from, count = s->owed;
	barrier_var(slots);
	barrier_var(from);
	if (count > COPIED_SLOTS)
		count = COPIED_SLOTS;
	// What the sum shows of `slots` some verifiers (6.12) forget the half of, so that is looked at once more.
	int is_full = slots + count >= MOST_SLOTS;
	barrier_var(slots);
	if (is_full || slots >= MOST_SLOTS || from >= MOST_SLOTS) {
		s->record.flags |= IS_FULL;
		s->owed = 0;
		return;
	}
	bpf_probe_read_kernel(&s->slots[slots], COPIED_SLOTS * sizeof(struct slot), &walk->base->kept[from]);
	s->record.slots = slots + count;
	s->compared_from = from + count;
	s->owed -= count;
	// Whose evidence, if it has any, is above them.
	s->last_code = 0;
}

static long visit_frames(__u32 index, struct walk *walk)
{
	struct scratch *s = walk->scratch;
	if (walk->base && s->compares) {
		if (s->owed) {
			take_compared(walk);
			return !s->owed && (!s->frame || s->record.flags & IS_FULL);
		}
		if (s->is_compared)
			return compare_frames(walk);
		if (index >= PLAIN_FRAMES / FRAMES_A_VISIT && !s->differs && find_shared(walk))
			return 0;
		s->differs = 0;
	}
	return take_frames(walk);
}

static long visit_state(__u32 index, struct walk *walk)
{
	struct scratch *s = walk->scratch;
	__u64 state = s->next;
	__u32 size = layout[STATE_LENGTH];
	if (!state || size > STATE_HEAD || bpf_probe_read_user(s->state_head, size, (void *)state))
		return 1;
	s->next = word(s->state_head + layout[STATE_NEXT]);
	if (word(s->state_head + layout[STATE_THREAD_ID]) != s->record.thread_id)
		return 0;
	s->found = state;
	return 1;
}

static long count_attached(__u32 index, struct walk *walk)
{
	struct scratch *s = walk->scratch;
	__u32 size = layout[STATE_LENGTH];
	if (!s->next || size > STATE_HEAD || bpf_probe_read_user(s->other_state_head, size, (void *)s->next))
		return 1;
	s->next = word(s->other_state_head + layout[STATE_NEXT]);
	if (half(s->other_state_head + layout[STATE_ATTACHMENT]) == ATTACHED)
		s->found++;
	return 0;
}

// Reads the thread state of the current thread into `state_head`; whether there is one.
static __always_inline int find_state(struct walk *walk, struct process *process, struct thread *thread)
{
	struct scratch *s = walk->scratch;
	__u32 size = layout[STATE_LENGTH];
	__u64 state = thread->state;
	if (state && size <= STATE_HEAD && !bpf_probe_read_user(s->state_head, size, (void *)state) &&
	    word(s->state_head + layout[STATE_THREAD_ID]) == s->record.thread_id &&
	    word(s->state_head + layout[STATE_INTERPRETER]) == process->interpreter)
		return 1;
	__u32 without = thread->samples_without_state;
	thread->samples_without_state = without + 1;
	if (!records_stateless && without >= ALWAYS_SEARCHED && without % SEARCHED_EVERY)
		return 0;
	s->next = 0;
	s->found = 0;
	bpf_probe_read_user(&s->next, 8, (void *)(process->interpreter + layout[THREADS_HEAD]));
	bpf_loop(MOST_STATES, visit_state, walk, 0);
	thread->state = s->found;
	if (!s->found)
		return 0;
	thread->samples_without_state = 0;
	s->record.flags |= IS_OF_NEW_THREAD;
	return word(s->state_head + layout[STATE_INTERPRETER]) == process->interpreter;
}

static __always_inline __u64 newest_frame(struct scratch *s)
{
	if (layout[STATE_CFRAME] == NONE)
		return word(s->state_head + layout[STATE_FRAME]);
	__u64 cframe = word(s->state_head + layout[STATE_CFRAME]), frame = 0;
	if (cframe && bpf_probe_read_user(&frame, 8, (void *)(cframe + layout[CFRAME_FRAME])))
		s->record.flags |= IS_BROKEN;
	return frame;
}

static __always_inline void read_gil_and_collector(struct walk *walk, struct process *process)
{
	struct scratch *s = walk->scratch;
	__u64 holder[2] = {};
	__u32 locked = 1, collecting = 0;
	if (process->locked_at == process->holder_at + 8) {
		bpf_probe_read_user(holder, 16, (void *)process->holder_at);
		locked = holder[1];
	} else {
		if (process->holder_at)
			bpf_probe_read_user(holder, 8, (void *)process->holder_at);
		if (process->locked_at)
			bpf_probe_read_user(&locked, 4, (void *)process->locked_at);
	}
	s->record.holder = locked == 1 ? holder[0] : 0;
	if (process->collecting_at)
		bpf_probe_read_user(&collecting, 4, (void *)process->collecting_at);
	if (!collecting)
		return;
	if (process->collecting_frame_at)
		bpf_probe_read_user(&s->record.collecting_frame, 8, (void *)process->collecting_frame_at);
	if (layout[STATE_ATTACHMENT] != NONE && !s->record.collecting_frame) {
		// While the world is stopped only who has stopped it is attached.
		s->found = 0;
		s->next = 0;
		bpf_probe_read_user(&s->next, 8, (void *)(process->interpreter + layout[THREADS_HEAD]));
		bpf_loop(MOST_STATES, count_attached, walk, 0);
		if (s->found != 1 || s->record.attachment != ATTACHED)
			return;
	}
	s->record.flags |= COLLECTS;
}

// Copies the next piece of the stack. One that cannot be read whole is tried by halves, up to the border of a page.
static long copy_piece(__u32 index, struct walk *walk)
{
	struct scratch *s = walk->scratch;
	__u32 slots = s->record.slots, length = s->stack_length;
	if (slots > MOST_SLOTS || length >= MOST_STACK)
		return 1;
	__u64 from = s->stack_start + length, piece = s->piece;
	if (s->had_failure)
		piece = ((from + piece) & ~(__u64)(PAGE - 1)) - from;
	if (!piece || piece > MOST_STACK)
		return 1;
	__u8 *to = (__u8 *)&s->slots[slots] + sizeof(struct native_head) + length;
	if (bpf_probe_read_user(to, piece, (void *)from)) {
		s->had_failure = 1;
		s->piece /= 2;
		return 0;
	}
	s->stack_length = length + piece;
	if (!s->had_failure)
		return 1;
	s->piece /= 2;
	return 0;
}

// Puts the registers that the current thread left user space with, and its stack, behind the slots of the record.
static __always_inline void add_native(struct walk *walk, struct task_struct *task)
{
	struct scratch *s = walk->scratch;
	__u32 slots = s->record.slots;
	if (slots > MOST_SLOTS)
		return;
	struct native_head *head = (struct native_head *)&s->slots[slots];
	if (bpf_probe_read_kernel(head->registers, sizeof(head->registers), (void *)bpf_task_pt_regs(task)))
		return;
	__u64 start = head->registers[STACK_POINTER] & ~7ULL, end = 0;
	// The C library's struct of a thread is at the upper end of its stack, but for that of the first thread, whose
	// stack the kernel has begun.
	struct mm_struct *mm = task->mm;
	if (mm)
		end = mm->start_stack;
	if (end <= start)
		end = 0;
	if (s->record.thread_id > start && (!end || s->record.thread_id < end))
		end = s->record.thread_id;
	head->end = end;
	s->record.flags |= HAS_NATIVE;
	s->stack_length = 0;
	s->stack_start = start;
	s->piece = end && end - start < stack_bound ? end - start : stack_bound;
	s->had_failure = 0;
	bpf_loop(MOST_PIECES, copy_piece, walk, 0);
}

// Puts the kernel's own stack into the first slots, where the interrupt fell into that: a system call, a page fault.
static __always_inline void add_kernel_frames(struct scratch *s, struct bpf_perf_event_data *ctx)
{
	// The lowest bits of the code segment are those of user space where the interrupt fell into that.
	if (ctx->regs.cs & 3)
		return;
	long size = bpf_get_stack(ctx, s->slots, MOST_KERNEL_FRAMES * 8, 0);
	if (size <= 0 || size > MOST_KERNEL_FRAMES * 8)
		return;
	__u32 words = (__u32)size / 8;
	s->record.kernel_frames = words;
	s->record.slots = (words + 3) / 4;
}

static __always_inline void put_record(struct scratch *s)
{
	__u32 slots = s->record.slots;
	if (slots > MOST_SLOTS)
		return;
	__u32 zero = 0;
	struct counts *counts = bpf_map_lookup_elem(&counters, &zero);
	if (!counts)
		return;
	__u64 flags = BPF_RB_NO_WAKEUP, since_woken = s->record.time - counts->woken;
	// Neither code nor a thread may live long, so they are to be looked at soon.
	if (((s->record.flags & HAS_UNKNOWN_CODE) && since_woken > WAKE_EVERY) ||
	    ((s->record.flags & IS_OF_NEW_THREAD) && since_woken > WAKE_FOR_THREADS_EVERY)) {
		counts->woken = s->record.time;
		flags = BPF_RB_FORCE_WAKEUP;
	}
	if (bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA) > wake_at)
		flags = BPF_RB_FORCE_WAKEUP;
	__u64 size = sizeof(struct record) + slots * sizeof(struct slot);
	if (stack_bound && (s->record.flags & HAS_NATIVE)) {
		__u32 length = s->stack_length;
		if (length > 2 * MOST_STACK)
			return;
		// Nothing is done with it before that.
		barrier_var(length);
		size += sizeof(struct native_head) + length;
	}
	if (!bpf_ringbuf_output(&records, s, size, flags))
		return;
	__sync_fetch_and_add(&counts->dropped, 1);
	// Nobody has what later records would refer to.
	if (s->record.flags & IS_BASE) {
		__u32 cpu = bpf_get_smp_processor_id();
		struct base *base = bpf_map_lookup_elem(&bases, &cpu);
		if (base)
			base->slots = 0;
	}
}

// Keeps the next piece of the record's stack.
static long keep_piece(__u32 index, struct walk *walk)
{
	struct scratch *s = walk->scratch;
	struct base *base = walk->base;
	__u64 to = (__u64)index * COPIED_SLOTS, from = s->clean_from + to;
	barrier_var(to);
	barrier_var(from);
	if (!base || to >= MOST_SLOTS || from >= MOST_SLOTS || to >= base->slots)
		return 1;
	bpf_probe_read_kernel(&base->kept[to], COPIED_SLOTS * sizeof(struct slot), &s->slots[from]);
	return 0;
}

// Keeps the record's stack, to compare those to come with it.
static __always_inline void keep_stack(struct walk *walk)
{
	struct scratch *s = walk->scratch;
	struct base *base = walk->base;
	__u32 slots = s->record.slots, clean_from = s->clean_from;
	if (slots < clean_from + LEAST_BASE)
		return;
	__u64 cpu = bpf_get_smp_processor_id();
	base->id = cpu << 40 | ((base->id + 1) & ((1ULL << 40) - 1));
	base->run = s->record.run;
	base->state = s->record.state;
	base->generation = walk->known->generation;
	base->tid = s->record.tid;
	base->slots = slots - clean_from;
	base->uses = 0;
	base->last_own = 0;
	base->shift = -(__s64)clean_from;
	bpf_loop(MOST_SLOTS / COPIED_SLOTS, keep_piece, walk, 0);
	s->record.flags |= IS_BASE;
	s->record.base = base->id;
	s->record.shared = base->slots;
}

// Reads the frames of the thread whose state is in `state_head`.
static __always_inline void read_frames(struct walk *walk)
{
	struct scratch *s = walk->scratch;
	__u32 cpu = bpf_get_smp_processor_id();
	s->frame = newest_frame(s);
	s->newer = s->frame;
	s->last_code = 0;
	s->block_start = 0;
	s->block_length = 0;
	s->reads_page = 0;
	s->salt = (__u64)s->record.tgid * 0x9e3779b97f4a7c15ULL & ~7ULL;
	s->clean_from = s->record.slots;
	s->last_has_evidence = 0;
	s->is_compared = 0;
	s->differs = 0;
	s->owed = 0;
	s->compares = 0;
	if (layout[IN_DATA_STACK] && !stack_bound) {
		struct base *base = bpf_map_lookup_elem(&bases, &cpu);
		// There is one for each.
		if (!base)
			return;
		walk->base = base;
		if (base->slots && base->tid == s->record.tid && base->run == s->record.run &&
		    base->state == s->record.state && base->generation == walk->known->generation)
			s->compares = base->uses < LEAST_USES || base->last_own < LEAST_BASE + base->slots / 8;
	}
	bpf_loop(MOST_VISITS, visit_frames, walk, 0);
	if ((s->frame || s->owed) && !(s->record.flags & IS_BROKEN))
		s->record.flags |= IS_FULL;
	struct base *base = walk->base;
	if (!base || s->record.flags & (IS_FULL | IS_BROKEN))
		return;
	if (s->is_compared) {
		s->record.base = base->id;
		s->record.shared = base->slots - s->compared_from;
		base->uses++;
		base->last_own = s->record.slots;
		base->shift = (__s64)s->compared_from - s->record.slots;
	} else {
		keep_stack(walk);
	}
}

static __always_inline void count_thread(void)
{
	__u32 zero = 0;
	struct counts *counts = bpf_map_lookup_elem(&counters, &zero);
	if (counts)
		__sync_fetch_and_add(&counts->threads, 1);
}

// The current thread as far as it is known, made if it is not; for an event with this period, or for none.
static __always_inline struct thread *thread_of(struct task_struct *task, struct process *process, __u64 period)
{
	__u32 tid = bpf_get_current_pid_tgid();
	__u64 run_delay = task->sched_info.run_delay, start_time = task->start_time;
	struct thread *known = bpf_map_lookup_elem(&threads, &tid);
	if (!known) {
		struct thread new = {
			.run = process->run, .period = period, .run_delay = run_delay, .start_time = start_time
		};
		bpf_map_update_elem(&threads, &tid, &new, BPF_ANY);
		count_thread();
		return bpf_map_lookup_elem(&threads, &tid);
	}
	if (known->run != process->run || (known->start_time && known->start_time != start_time)) {
		if (known->run == process->run)
			count_thread();
		__builtin_memset(known, 0, sizeof(*known));
		known->run = process->run;
		known->run_delay = run_delay;
	}
	known->start_time = start_time;
	if (period && !known->period)
		known->period = period;
	return known;
}

// The process of the current thread, if that is sampled.
static __always_inline struct process *current_process(void)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	return tgid ? bpf_map_lookup_elem(&processes, &tgid) : 0;
}

// Begins a record of the current thread. 0 where there is no place for it.
static __always_inline struct scratch *begin_record(struct walk *walk, struct process *process, __u32 flags)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	__u32 cpu = bpf_get_smp_processor_id(), zero = 0;
	struct scratch *s = bpf_map_lookup_elem(&scratches, &cpu);
	walk->scratch = s;
	walk->known = bpf_map_lookup_elem(&codes, &zero);
	if (!s || !walk->known)
		return 0;
	__u64 id = bpf_get_current_pid_tgid();
	__builtin_memset(&s->record, 0, sizeof(s->record));
	s->record.time = bpf_ktime_get_ns();
	s->record.flags = flags;
	s->record.tgid = id >> 32;
	s->record.tid = id;
	s->record.run = process->run;
	s->record.thread_id = task->thread.fsbase;
	return s;
}

// Finds the thread's state and puts what that tells, and its interpreter, into the record. Whether there is one.
static __always_inline int begin_stack(struct walk *walk, struct process *process, struct thread *thread)
{
	struct scratch *s = walk->scratch;
	if (!find_state(walk, process, thread))
		return 0;
	s->record.state = thread->state;
	if (layout[STATE_ATTACHMENT] != NONE)
		s->record.attachment = half(s->state_head + layout[STATE_ATTACHMENT]);
	if (layout[STATE_REQUESTS_GIL] != NONE && half(s->state_head + layout[STATE_REQUESTS_GIL]) == 1)
		s->record.flags |= REQUESTS_GIL;
	read_gil_and_collector(walk, process);
	return 1;
}

// Records the current thread's stack; without `RAN` and `LEFT_CPU` only how long it waited for a CPU. `ctx` is that of
// the interrupt, if it is one.
static __always_inline int record_stack(struct process *process, struct thread *thread, __u64 weight, __u32 flags,
					struct bpf_perf_event_data *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	struct walk walk = {};
	struct scratch *s = begin_record(&walk, process, flags);
	if (!s)
		return 0;
	s->record.weight = weight;
	__u64 run_delay = task->sched_info.run_delay;
	__u64 delay = run_delay - thread->run_delay;
	thread->run_delay = run_delay;
	if (thread->has_left_stack)
		s->record.delay_since_left = delay;
	else
		thread->delay += delay;
	s->record.delay = thread->delay;
	if (!(flags & (RAN | LEFT_CPU))) {
		thread->has_left_stack = 0;
		thread->delay = 0;
		put_record(s);
		return 0;
	}
	if (ctx && records_kernel)
		add_kernel_frames(s, ctx);
	if (!begin_stack(&walk, process, thread)) {
		if (stack_bound && records_stateless) {
			add_native(&walk, task);
			thread->delay = 0;
			thread->has_left_stack = flags & LEFT_CPU;
			put_record(s);
			return 0;
		}
		__u32 zero = 0;
		struct counts *counts = bpf_map_lookup_elem(&counters, &zero);
		if (counts && (flags & RAN))
			__sync_fetch_and_add(&counts->stateless, 1);
		if (s->record.delay_since_left)
			put_record(s);
		thread->has_left_stack = 0;
		thread->delay = 0;
		return 0;
	}
	read_frames(&walk);
	if (stack_bound)
		add_native(&walk, task);
	thread->delay = 0;
	thread->has_left_stack = flags & LEFT_CPU;
	put_record(s);
	return 0;
}

SEC("perf_event")
int sample_running(struct bpf_perf_event_data *ctx)
{
	struct process *process = current_process();
	if (!process)
		return 0;
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	__u64 period = ctx->sample_period;
	struct thread *thread = thread_of(task, process, period);
	if (!thread || thread->period != period)
		return 0;
	if (interrupts_a_sample > 1) {
		// Half an interrupt early, as what a thread runs after its last one is half of that on average.
		if (!thread->until_sample)
			thread->until_sample = (1 + bpf_get_prandom_u32() % (2 * interrupts_a_sample)) / 2 ?: 1;
		if (--thread->until_sample)
			return 0;
		thread->until_sample = interrupts_a_sample;
	}
	return record_stack(process, thread, period * interrupts_a_sample, RAN, ctx);
}

// The current thread goes to sleep. Whoever reads its stack meanwhile needs its registers.
static __always_inline void keep_registers(struct process *process, struct task_struct *task)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct sleeper *known = bpf_map_lookup_elem(&sleepers, &tid);
	if (!known) {
		struct sleeper new = {};
		bpf_map_update_elem(&sleepers, &tid, &new, BPF_ANY);
		known = bpf_map_lookup_elem(&sleepers, &tid);
		if (!known)
			return;
	}
	long failed = bpf_probe_read_kernel(known->registers, sizeof(known->registers), (void *)bpf_task_pt_regs(task));
	known->run = failed ? 0 : process->run;
}

// A thread leaves its CPU. If it would rather run on, its stack is recorded: that is where it is until it has one
// again. So is that of one that goes to sleep, if it had to wait for a CPU when it woke up the last time.
SEC("raw_tp/sched_switch")
int leave_cpu(struct bpf_raw_tracepoint_args *ctx)
{
	struct process *process = current_process();
	if (!process)
		return 0;
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	__u64 run_delay = task->sched_info.run_delay;
	struct thread *thread = thread_of(task, process, 0);
	if (!thread)
		return 0;
	__u64 delay = run_delay - thread->run_delay;
	int wants_cpu = ctx->args[0] || !task->__state;
	int was_delayed = thread->is_delayed;
	thread->is_delayed = delay >= LONG_DELAY;
	if (keeps_registers && !wants_cpu)
		keep_registers(process, task);
	if (wants_cpu || was_delayed)
		return record_stack(process, thread, 0, LEFT_CPU | (wants_cpu ? 0 : WAITS), 0);
	// Whoever reads the ring is to know that it does not want a CPU any more.
	if (thread->has_left_stack)
		return record_stack(process, thread, 0, WAITS, 0);
	thread->run_delay = run_delay;
	thread->delay += delay;
	return 0;
}

// A process executes another program: what was known of it holds no more, so that is to be looked at soon.
SEC("raw_tp/sched_process_exec")
int tell_of_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct process *process = current_process();
	if (!process)
		return 0;
	__u64 id = bpf_get_current_pid_tgid();
	// Not in the scratch of this CPU, which an interrupt may use meanwhile.
	struct record record = {};
	record.time = bpf_ktime_get_ns();
	record.flags = EXECUTED;
	record.tgid = id >> 32;
	record.tid = id;
	record.run = process->run;
	bpf_ringbuf_output(&records, &record, sizeof(record), BPF_RB_FORCE_WAKEUP);
	return 0;
}

#include "off_cpu.bpf.h"

// All of these files may be used under either of these; the helpers of the kernel ask for one of them.
char LICENSE[] SEC("license") = "Dual MIT/GPL";
