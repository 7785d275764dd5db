//! What a command that no shard answers may look at.

use crate::modules::Setup;
use crate::time::WallTime;

use super::statistic::Baseline;

/// The control side's knowledge, lent to one command.
pub struct Desk<'a> {
    /// The configuration that runs.
    pub setup: &'a Setup,
    /// The time of the request.
    pub now: WallTime,
    /// Where resettable statistics begin.
    pub baseline: &'a mut Baseline,
    /// Asks the system about the process; it costs system calls, so only who needs it asks.
    pub look: &'a dyn Fn() -> Facts,
}

/// What the system knows of the process.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Its threads: number and name.
    pub threads: Vec<(u32, String)>,
    /// Bytes of memory in use.
    pub resident_size: u64,
    /// The most that was in use.
    pub resident_size_max: u64,
    /// Bytes of memory of the machine.
    pub memory_size: u64,
    /// The working directory.
    pub directory: String,
    /// The command line.
    pub command_line: Vec<String>,
    /// Streams that are open for SIP.
    pub stream_count: u64,
    /// Bytes that wait to be written to them.
    pub stream_queue_size: u64,
    /// Where operators can connect: kind, transport, address, port.
    pub listeners: Vec<[String; 4]>,
    /// Operators that are connected.
    pub client_count: u64,
    /// What stands in the file of `cfgutils.hash_file`, if there is one.
    pub hash_file: Option<Vec<u8>>,
    /// The target, the build.
    pub build: &'static str,
}

impl std::fmt::Debug for Desk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}
