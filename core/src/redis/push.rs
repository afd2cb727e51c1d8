//! What a server pushes: invalidations of keys that this process has read, and the
//! end of a connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use redis::{PushInfo, PushKind, Value};

use super::discover::OnPush;
use super::error::LinkError;
use super::heartbeat::FLUSHED;
use super::state::SharedState;

/// Handles the pushes of all sessions, as long as the state is there.
pub(super) fn push_handler(state: &Arc<SharedState>) -> OnPush {
    let state = Arc::downgrade(state);
    Arc::new(move |session, push: PushInfo| {
        if let Some(state) = state.upgrade() {
            on_push(&state, session, &push);
        }
    })
}

fn on_push(state: &SharedState, session: u64, push: &PushInfo) {
    match push.kind {
        PushKind::Disconnection => {
            state.disconnect(session, &LinkError::new("the connection was closed"));
        }
        PushKind::Invalidate => match push.data.first() {
            Some(Value::Array(keys)) => keys.iter().for_each(|key| on_key_changed(state, key)),
            Some(Value::BulkString(_)) => {
                push.data.iter().for_each(|key| on_key_changed(state, key));
            }
            // All keys have gone, or the push is of an unknown form: what lies in the
            // store now may be older than what was there.
            _ => {
                state.flushes.fetch_add(1, Ordering::SeqCst);
                state.near.all_changed();
                state.disconnect(session, &LinkError::new(FLUSHED));
            }
        },
        _ => {}
    }
}

fn on_key_changed(state: &SharedState, key: &Value) {
    let Value::BulkString(key) = key else { return state.near.all_changed() };
    state.near.key_changed(key);
    state.waiters.wake(key);
}
