//! Who the master is, decided by a majority of the sentinels.
//!
//! While an old master lives, two servers call themselves master, and each
//! sentinel has its own view. Required is a majority that names one master under
//! one configuration epoch. Two majorities share a sentinel, and the epoch that a
//! sentinel knows never decreases. So if one caller announces at one master and
//! another reads at a second one, one of them notices (see `docs/decisions.md`).
//!
//! Sentinels answer at different times, or never. A caller takes a [`Ticket`]. An
//! answer counts for the ticket if it was requested later. So one answer serves
//! all callers that came before its request, and a silent sentinel delays nobody
//! while the others are a majority.

use std::sync::Arc;

/// When a caller arrived, by the clock of its [`Quorum`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(u64);

/// A master, as a sentinel names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Master {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The configuration epoch under which it is the master. It grows with
    /// each failover. So a server that is master for the second time counts
    /// as another one.
    pub(crate) epoch: u64,
}

/// The answer of a sentinel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct View {
    /// The identity of the sentinel: one that is listed twice counts once.
    pub(crate) sentinel: String,
    pub(crate) master: Arc<Master>,
    /// How many other sentinels it knows.
    pub(crate) others: usize,
}

/// Why a sentinel names no master.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NoAnswer {
    pub(crate) reason: String,
    /// Whether the settings are wrong, so that waiting does not help.
    pub(crate) is_lasting: bool,
}

/// The result of a request to all sentinels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// A majority names this master.
    Named(Arc<Master>),
    /// All have answered or failed, and no majority names the same master.
    NoMajority(NoAnswer),
}

/// The answers of all sentinels that are listed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Quorum {
    sentinels: Vec<SentinelState>,
    /// The largest number of sentinels that any of them has reported: those
    /// that are not listed count too. It only grows, because a sentinel that
    /// was just reset knows no others.
    most: usize,
    now: u64,
    /// Up to which ticket the last majority counts, and for which master.
    named: Option<(u64, Arc<Master>)>,
    /// Up to which ticket there was no majority.
    divided: u64,
}

/// A sentinel that is listed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SentinelState {
    /// When it was last asked.
    asked: u64,
    /// When the request was sent that it has answered last, or that failed
    /// last.
    answered: u64,
    answer: Result<View, NoAnswer>,
}

impl Quorum {
    /// A quorum of so many listed sentinels.
    pub(crate) fn new(listed: usize) -> Self {
        let answer = Err(NoAnswer { reason: "it has not answered yet".into(), is_lasting: false });
        let sentinel = SentinelState { asked: 0, answered: 0, answer };
        Quorum { sentinels: vec![sentinel; listed], most: 0, now: 0, named: None, divided: 0 }
    }

    /// A caller arrives. Answers that are requested from now on count for it.
    pub(crate) fn ticket(&mut self) -> Ticket {
        self.now += 1;
        Ticket(self.now)
    }

    /// Whether a sentinel has to be asked for callers that have arrived since
    /// it was last asked. If so, it counts as asked now. The result is the
    /// time to pass to [`answered`](Self::answered).
    pub(crate) fn ask(&mut self, sentinel: usize) -> Option<Ticket> {
        let is_settled = self.decision(Ticket(self.now)).is_some();
        let sentinel = &mut self.sentinels[sentinel];
        if sentinel.asked == self.now || is_settled {
            return None;
        }
        sentinel.asked = self.now;
        Some(Ticket(self.now))
    }

    /// A sentinel has answered the request of time `asked`, or has failed to.
    /// Returns whether this decides something.
    pub(crate) fn answered(
        &mut self,
        sentinel: usize,
        asked: Ticket,
        answer: Result<View, NoAnswer>,
    ) -> bool {
        if let Ok(view) = &answer {
            self.most = self.most.max(view.others + 1);
        }
        let sentinel = &mut self.sentinels[sentinel];
        (sentinel.answered, sentinel.answer) = (asked.0, answer);
        self.decide()
    }

    /// The decision for a caller, if there is one by now.
    pub(crate) fn decision(&self, ticket: Ticket) -> Option<Decision> {
        match &self.named {
            Some((until, master)) if ticket.0 <= *until => Some(Decision::Named(master.clone())),
            _ if ticket.0 <= self.divided => Some(Decision::NoMajority(self.why_divided())),
            _ => None,
        }
    }

    /// How many sentinels have to agree.
    fn majority(&self) -> usize {
        self.sentinels.len().max(self.most) / 2 + 1
    }

    fn decide(&mut self) -> bool {
        let before = self.named.as_ref().map_or(0, |(until, _)| *until);
        let found = self.sentinels.iter().filter_map(|sentinel| {
            let master = &sentinel.answer.as_ref().ok()?.master;
            Some((self.agreed_until(master)?, master.clone()))
        });
        let found = found.max_by_key(|(until, _)| *until).filter(|(until, _)| *until > before);
        let all = self.sentinels.iter().map(|sentinel| sentinel.answered).min().unwrap_or(0);
        if let Some(found) = found {
            self.named = Some(found);
            return true;
        }
        let is_divided = all > before.max(self.divided);
        if is_divided {
            self.divided = all;
        }
        is_divided
    }

    /// The last ticket for which a majority names a master.
    fn agreed_until(&self, master: &Master) -> Option<u64> {
        let mut votes: Vec<(u64, &str)> = Vec::with_capacity(self.sentinels.len());
        for sentinel in &self.sentinels {
            let Ok(view) = &sentinel.answer else { continue };
            if *view.master == *master && votes.iter().all(|(_, id)| *id != view.sentinel) {
                let of_it = |it: &&SentinelState| it.names(&view.sentinel, master);
                let last = self.sentinels.iter().filter(of_it).map(|it| it.answered).max();
                votes.push((last.unwrap_or(sentinel.answered), &view.sentinel));
            }
        }
        votes.sort_unstable_by(|a, b| b.cmp(a));
        votes.get(self.majority() - 1).map(|(asked, _)| *asked)
    }

    /// What every sentinel has answered, and what to do.
    fn why_divided(&self) -> NoAnswer {
        let said = self.sentinels.iter().map(|sentinel| match &sentinel.answer {
            Ok(view) => {
                let Master { host, port, epoch } = &*view.master;
                format!("one names {host}:{port} (configuration epoch {epoch})")
            }
            Err(nothing) => nothing.reason.clone(),
        });
        let said = said.collect::<Vec<_>>().join("; ");
        let (listed, needed) = (self.sentinels.len(), self.majority());
        let known = listed.max(self.most);
        let more = match listed < needed {
            true => format!("; only {listed} are listed: list all {known}"),
            false => String::new(),
        };
        let names_nobody = self.sentinels.iter().all(|sentinel| sentinel.answer.is_err());
        let is_lasting =
            |sentinel: &SentinelState| sentinel.answer.as_ref().is_err_and(|it| it.is_lasting);
        NoAnswer {
            reason: format!(
                "no {needed} of {known} sentinels name the same master, which it takes: {said}{more}"
            ),
            is_lasting: names_nobody && self.sentinels.iter().any(is_lasting),
        }
    }
}

impl SentinelState {
    fn names(&self, sentinel: &str, master: &Master) -> bool {
        self.answer.as_ref().is_ok_and(|it| it.sentinel == sentinel && *it.master == *master)
    }
}

#[cfg(test)]
mod tests;
