//! The clocks of the machine, read once for each input.

use std::time::{Instant as SystemInstant, SystemTime, UNIX_EPOCH};

use crate::time::{Instant, Now, WallTime};

/// The moment from which this process counts; all cores share it, so their instants compare.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: SystemInstant,
}

impl Clock {
    /// A clock that shows zero now.
    pub(crate) fn start() -> Self {
        Clock {
            origin: SystemInstant::now(),
        }
    }

    /// The monotonic clock alone.
    pub(crate) fn mono(&self) -> Instant {
        Instant::from_nanos(self.origin.elapsed().as_nanos() as u64)
    }

    /// Both clocks. A wall clock before 1970 shows 1970.
    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            mono: self.mono(),
            wall: WallTime::from_micros(wall.as_micros() as u64),
        }
    }
}
