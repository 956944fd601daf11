//! Whether the stacks of a sample are stacks that their threads had: what is known of each thread (`records`,
//! `history`), the plan for the next read (`read_plan`), the verdict on it (`verdict`).

pub(super) mod cpu_word;
pub(super) mod history;
pub(super) mod pinning;
pub(super) mod read_mode;
pub(super) mod read_plan;
pub(super) mod records;
pub(super) mod verdict;

#[cfg(test)]
mod tests;
