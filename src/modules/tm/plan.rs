//! What a script asks of a transaction: routes to run and times to wait.

use crate::script::RouteId;
use crate::time::Duration;

use super::Config;

/// Set by `t_on_*` and `t_set_*`, before the transaction exists or after.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Run for each reply (`t_on_reply`); stays in force for branches added later.
    pub on_reply: Option<RouteId>,
    /// Run when all branches have failed (`t_on_failure`); used up by running.
    pub on_failure: Option<RouteId>,
    /// Run before each branch is sent (`t_on_branch`); used up by one `t_relay`.
    pub on_branch: Option<RouteId>,
    /// Run for each branch that fails (`t_on_branch_failure`).
    pub on_branch_failure: Option<RouteId>,
    /// See [`Times`]; `None`: the module's parameter.
    pub final_response: Option<Duration>,
    /// See [`Times`].
    pub final_response_invite: Option<Duration>,
    /// See [`Times`].
    pub lifetime_invite: Option<Duration>,
    /// See [`Times`].
    pub lifetime: Option<Duration>,
    /// See [`Times`].
    pub repeat_first: Option<Duration>,
    /// See [`Times`].
    pub repeat_cap: Option<Duration>,
    /// `t_set_auto_inv_100(0)`.
    pub no_100: bool,
    /// `t_set_disable_6xx`: a 6xx does not end the other branches.
    pub no_6xx_block: bool,
    /// `t_set_disable_internal_reply`: no reply of our own when `t_relay` fails.
    pub no_internal_reply: bool,
    /// `t_set_no_e2e_cancel_reason`: the Reason of a received CANCEL ends here.
    pub no_cancel_reason: bool,
    /// `t_set_disable_failover`: only the first address of a name.
    pub no_failover: bool,
}

/// The times that apply to one transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// Until the first provisional response to an INVITE, or the final one to anything else.
    pub final_response: Duration,
    /// From each provisional response to the final one of an INVITE.
    pub final_response_invite: Duration,
    /// A branch's whole life: timer C.
    pub lifetime: Duration,
    /// T1: until a request or response is sent for the second time.
    pub repeat_first: Duration,
    /// T2: the longest interval between two repetitions.
    pub repeat_cap: Duration,
}

impl Plan {
    /// The times for a transaction of this kind.
    pub fn times(&self, config: &Config, is_invite: bool) -> Times {
        let lifetime = if is_invite {
            self.lifetime_invite.unwrap_or(config.max_inv_lifetime)
        } else {
            self.lifetime.unwrap_or(config.max_noninv_lifetime)
        };
        Times {
            final_response: self.final_response.unwrap_or(config.fr_timer),
            final_response_invite: self.final_response_invite.unwrap_or(config.fr_inv_timer),
            lifetime,
            repeat_first: self.repeat_first.unwrap_or(config.retr_timer1),
            repeat_cap: self.repeat_cap.unwrap_or(config.retr_timer2),
        }
    }
}
