//! What the checker sees of a world: its first state, its transitions and its
//! properties.

use stateright::{Model, Property};

use super::names::STAMPS;
use super::near::Near;
use super::server::Server;
use super::state::{At, Connection, Last, Process, State, Thread};
use super::world::{Action, Role, World};

pub(super) const NEVER_STALE: &str = "never stale";
pub(super) const SHARED_HIT: &str = "a hit in the store";
pub(super) const NEAR_HIT: &str = "a hit in memory";

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let fixed = self.is_all_fixed();
        let process = || {
            let mut near = Near::new(1);
            near.objects[0].token = fixed.then_some(0);
            Process {
                near,
                link: Some(1),
                trusted: true,
                has_to_unverify: false,
                connections: vec![Connection { session: 1, tracks: 0, queue: Vec::new() }],
                registry: (None, 0),
                own_floor: 0,
                pushed_floor: 0,
                identity: 0,
            }
        };
        let thread = |(process, _): &(usize, Role)| Thread {
            process: *process,
            round: 0,
            at: At::Idle,
            floor: 0,
            outer: None,
            opened: 0,
            last: Last::Nothing,
        };
        let server = Server {
            all: fixed.then_some((0, 0)),
            registry: (None, 0),
            is_limited: false,
            stamps: [None; STAMPS],
            values: [None, None],
        };
        let mut s = State {
            db: 0,
            floor: 0,
            identity: 0,
            saved: None,
            left: self.faults,
            server,
            processes: self.strict.iter().map(|_| process()).collect(),
            threads: self.threads.iter().map(thread).collect(),
        };
        self.run_before(&mut s);
        s.normalize();
        vec![s]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        if s.threads.iter().all(|thread| thread.at == At::Done) {
            return;
        }
        (0..s.threads.len()).for_each(|t| self.runs(s, t, actions));
        self.faults(s, actions);
    }

    fn next_state(&self, s: &State, action: Action) -> Option<State> {
        let mut next = s.clone();
        match action {
            Action::Run(t, choice) => self.run(&mut next, t, choice),
            _ => self.apply_fault(&mut next, &action),
        }
        next.normalize();
        (next != *s).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NEVER_STALE, |_, s: &State| {
                s.threads.iter().all(|thread| !matches!(thread.last, Last::Stale { .. }))
            }),
            Property::sometimes(SHARED_HIT, |_, s: &State| {
                s.threads.iter().any(|thread| thread.last == Last::SharedHit)
            }),
            Property::sometimes(NEAR_HIT, |_, s: &State| {
                s.threads.iter().any(|thread| thread.last == Last::NearHit)
            }),
        ]
    }
}
