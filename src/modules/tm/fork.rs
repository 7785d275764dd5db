//! Choosing among the final responses of a fork: RFC 3261 §16.7 step 6.

/// What one branch ended with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The status code, 300 to 699.
    pub status: u16,
    /// Whether it was made here (408, 503 ...) instead of received.
    pub is_local: bool,
}

/// The index of the response to send upstream; `None` when there is none. Among equals the
/// first wins. `local_penalty` is `tm.faked_reply_prio`.
pub fn best(candidates: impl Iterator<Item = Candidate>, local_penalty: i64) -> Option<usize> {
    candidates
        .enumerate()
        .min_by_key(|(_, c)| rank(c.status) + if c.is_local { local_penalty } else { 0 })
        .map(|(index, _)| index)
}

/// The lower, the better. A 6xx beats all (§16.7: it MUST be chosen), then redirections, then
/// what the caller can mend by another request (§16.7 lists 401, 407, 415, 420 and 484), then
/// the other classes in order.
fn rank(status: u16) -> i64 {
    let status = i64::from(status);
    let in_class = status % 100;
    match status / 100 {
        6 => 1_000 + in_class,
        3 => 3_000 + in_class,
        4 if matches!(status, 401 | 407 | 415 | 420 | 484) => 4_000 + in_class,
        4 => 4_100 + in_class,
        _ => 5_000 + in_class,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_response_of_a_fork() {
        let table: [(&[u16], u16); 12] = [
            (&[486], 486),
            (&[486, 404, 603], 603),
            (&[486, 404], 404),
            (&[486, 480], 480),
            (&[404, 401], 401),
            (&[407, 401], 401),
            (&[400, 484], 484),
            (&[302, 404], 302),
            (&[302, 600], 600),
            (&[503, 486], 486),
            (&[500, 503], 500),
            (&[604, 603], 603),
        ];
        for (statuses, want) in table {
            let received = |&status| Candidate {
                status,
                is_local: false,
            };
            let index = best(statuses.iter().map(received), 0).unwrap();
            assert_eq!(statuses[index], want, "{statuses:?}");
        }
        assert_eq!(best(std::iter::empty(), 0), None);
    }

    #[test]
    fn a_local_response_can_be_put_behind() {
        let pair = [
            Candidate {
                status: 408,
                is_local: true,
            },
            Candidate {
                status: 486,
                is_local: false,
            },
        ];
        assert_eq!(best(pair.into_iter(), 0), Some(0));
        assert_eq!(best(pair.into_iter(), 2_000), Some(1));
    }
}
