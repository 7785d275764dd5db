//! What one core counts: plain integers, written by that core alone.
//!
//! The names are those an operator sees; SIGUSR1 writes them to the log.

/// Makes the struct and the list of its names from one table.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of one core since the start.
        #[derive(Clone, Default, PartialEq, Eq, Debug)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Each counter with its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            /// Adds what another part of the same core has counted.
            pub fn add(&mut self, other: &Counters) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    /// Datagrams read from sockets.
    udp_received,
    /// Datagrams given to the kernel.
    udp_sent,
    /// Datagrams that the kernel dropped because the receive queue was full.
    udp_receive_drops,
    /// INVITEs of new calls dropped because there was no time even to refuse them.
    calls_dropped,
    /// The longest that a datagram has waited in a receive queue, in microseconds.
    queue_delay_us_max,
    /// Datagrams that the kernel refused to send.
    udp_send_errors,
    /// Datagrams not sent because too many waited for the kernel.
    udp_send_drops,
    /// Datagrams that the kernel brought to this core because it owns their call.
    kernel_steered,
    /// Messages received here and handed to the core that owns their call.
    handed_over,
    /// Messages that another core handed over to this one.
    taken_over,
    /// Messages that came to this core by mistake: the kernel's, then they are handed over, or
    /// another core's, then they are handled all the same.
    misrouted,
    /// What the shards of other cores had to tell this one.
    peer_received,
    /// Items dropped because the queue to another core was full.
    mesh_drops,
    /// Messages read from streams.
    stream_received,
    /// Requests of HTTP read from streams.
    http_received,
    /// Messages written to streams.
    stream_sent,
    /// Keep-alives answered on streams.
    stream_pings,
    /// Connections that peers opened.
    connections_accepted,
    /// Connections opened to peers.
    connections_opened,
    /// Connections closed at once because there are too many.
    connections_refused,
    /// Connections that could not be opened, or not in time.
    connect_failures,
    /// Streams closed because what came in cannot be cut into messages.
    stream_framing_errors,
    /// Streams closed because the peer did not read.
    stream_stuck,
    /// Streams closed because nothing was said for too long.
    stream_idle,
    /// Names asked of the resolver.
    resolves,
    /// Names not asked because too many were being asked already.
    resolve_drops,
    /// Deadlines handled.
    deadlines,
    /// Slices of answers to operators.
    rpc_slices,
    /// Microseconds that the core worked on the longest of them.
    rpc_slice_us_max,
    /// Microseconds that passed meanwhile, with what else ran on its CPU.
    rpc_slice_wall_us_max,
    /// Values of the largest of them.
    rpc_slice_values_max,
    /// Slices that took more than a millisecond.
    rpc_slices_long,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_named_once() {
        let counters = Counters {
            handed_over: 3,
            ..Counters::default()
        };
        let mut names: Vec<_> = counters.iter().map(|(name, _)| name).collect();
        assert_eq!(counters.iter().map(|(_, n)| n).sum::<u64>(), 3);
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
