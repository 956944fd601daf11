//! To be filled.
/// The prefetching snapshot.
#[derive(Debug)]
pub struct Snapshot;
/// Its counts.
#[derive(Debug)]
pub struct SnapshotStatistics;
