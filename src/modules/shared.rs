//! What scripts of all shards share: each shard has the whole of it, a change is seen at once where
//! it is made and elsewhere as soon as the others have heard of it.

use crate::effect::SharedNews;
use crate::steer::ShardId;

use super::{Env, cfgutils, pv};

/// Another shard has changed something.
pub fn heard(env: &mut Env<'_>, from: ShardId, news: &SharedNews) {
    match news {
        SharedNews::Variable { name, at, change } => {
            pv::store::heard(env, from, (name, *at, change));
        }
        SharedNews::Flags(bits) => cfgutils::change_flags(env.state, *bits),
    }
}
