//! Asking the sentinels for the master: all of them at the same time, over connections
//! that stay open, for all callers together.
//!
//! A caller takes a ticket before it sends anything to the master, and reads the
//! decision when the master has replied. So the check takes no extra time while the
//! sentinels are as near as the master. [`Quorum`] decides what an answer counts for.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use redis::{Pipeline, Value, cmd};
use tokio::sync::Notify;

use super::endpoint::Endpoint;
use super::error::{LinkError, SetupError};
use super::node::Connection;
use super::wire::number;
use crate::protocol::{Decision, Master, NoAnswer, Quorum, Ticket, View};
use crate::sync::lock;

/// How long a sentinel that has failed is not asked again, however many callers come.
const PAUSE: Duration = Duration::from_millis(50);

/// The sentinels to ask, and the master to ask for.
pub(crate) struct WatchedSentinels {
    pub(crate) endpoints: Vec<Endpoint>,
    /// The name by which they know the master.
    pub(crate) master: String,
    /// How long a reply may take.
    pub(crate) limit: Duration,
}

/// What all callers share of the sentinels.
#[derive(Debug)]
pub(crate) struct Sentinels {
    quorum: Mutex<Quorum>,
    /// Wakes the task that asks.
    wanted: Notify,
    /// Wakes callers that wait for a decision.
    decided: Notify,
}

impl Sentinels {
    pub(crate) fn new(listed: usize) -> Self {
        let quorum = Mutex::new(Quorum::new(listed));
        Sentinels { quorum, wanted: Notify::new(), decided: Notify::new() }
    }

    /// Requests a decision. Only answers that are requested from now on count for it.
    pub(crate) fn ask(&self) -> Ticket {
        let ticket = lock(&self.quorum).ticket();
        self.wanted.notify_one();
        ticket
    }

    /// The decision, if there is one by now.
    pub(crate) fn decision(&self, ticket: Ticket) -> Option<Decision> {
        lock(&self.quorum).decision(ticket)
    }

    /// Waits for the decision. Each sentinel answers or fails within its time limits.
    pub(crate) async fn decided(&self, ticket: Ticket) -> Decision {
        loop {
            let decided = self.decided.notified();
            if let Some(decision) = self.decision(ticket) {
                return decision;
            }
            decided.await;
        }
    }

    /// Asks the sentinels whenever a caller requests a decision. It does not return.
    pub(crate) async fn serve(&self, watched: WatchedSentinels) {
        let WatchedSentinels { endpoints, master, limit } = watched;
        let clients = endpoints.into_iter();
        let clients = clients.map(|endpoint| Some(SentinelClient::new(endpoint, &master, limit)));
        let mut idle: Vec<Option<SentinelClient>> = clients.collect();
        let mut asking = FuturesUnordered::new();
        loop {
            for (n, place) in idle.iter_mut().enumerate() {
                if place.is_some()
                    && let Some(asked) = lock(&self.quorum).ask(n)
                    && let Some(client) = place.take()
                {
                    asking.push(async move { (n, asked, client.ask().await) });
                }
            }
            let wanted = std::pin::pin!(self.wanted.notified());
            if asking.is_empty() {
                wanted.await;
                continue;
            }
            if let Either::Left((Some((n, asked, (client, answer))), _)) =
                select(asking.next(), wanted).await
            {
                idle[n] = Some(client);
                if lock(&self.quorum).answered(n, asked, answer) {
                    self.decided.notify_waiters();
                }
            }
        }
    }
}

/// A sentinel, and the connection to it.
struct SentinelClient {
    endpoint: Endpoint,
    query: MasterQuery,
    /// The time limit of an answer.
    limit: Duration,
    /// The connection, and the id of the sentinel.
    connection: Option<(Connection, String)>,
    /// When and why it failed last.
    failed: Option<(Instant, NoAnswer)>,
}

impl SentinelClient {
    fn new(endpoint: Endpoint, master: &str, limit: Duration) -> Self {
        let query = MasterQuery::new(master);
        SentinelClient { endpoint, query, limit, connection: None, failed: None }
    }

    /// Asks the sentinel, over the open connection, or over a new one if that has
    /// ended.
    async fn ask(mut self) -> (Self, Result<View, NoAnswer>) {
        if let Some((at, error)) = &self.failed
            && at.elapsed() < PAUSE
        {
            let error = error.clone();
            return (self, Err(error));
        }
        let mut answer = match &self.connection {
            Some(connection) => self.in_time(self.query.send(connection)).await,
            None => Err(SetupError::unavailable("")),
        };
        if answer.is_err() && !matches!(&answer, Err(error) if !error.is_unavailable()) {
            self.connection = None;
            answer = match self.connect().await {
                Ok(connection) => {
                    let answer = self.in_time(self.query.send(&connection)).await;
                    self.connection = Some(connection);
                    answer
                }
                Err(error) => Err(error),
            };
        }
        let answer = answer.map_err(|error| NoAnswer {
            reason: format!("{} says failure ({})", self.endpoint.address(), error.text()),
            is_lasting: !error.is_unavailable(),
        });
        self.failed = answer.as_ref().err().map(|error| (Instant::now(), error.clone()));
        (self, answer)
    }

    async fn connect(&self) -> Result<(Connection, String), SetupError> {
        let connection = self.endpoint.open(|_| {}).await?;
        let asked = async {
            let id = connection.ask(&cmd("SENTINEL").arg("MYID").to_owned()).await;
            let id = id.map_err(|error| {
                SetupError::unfit_server(format!(
                    "SENTINEL MYID is refused: {error}; allow it to the user"
                ))
            })?;
            Ok(text(&id).unwrap_or_default().to_owned())
        };
        let id = self.in_time(asked).await?;
        if id.is_empty() {
            return Err(SetupError::unfit_server(
                "it does not tell its id: it needs Redis 6.2 or newer",
            ));
        }
        Ok((connection, id))
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, SetupError>>,
    ) -> Result<T, SetupError> {
        let timer = tokio::time::timeout(self.limit, work);
        timer.await.unwrap_or_else(|_| Err(LinkError::timeout(self.limit).into()))
    }
}

/// The commands for a sentinel.
struct MasterQuery {
    master: String,
    plain: Pipeline,
    in_failover: Pipeline,
}

impl MasterQuery {
    fn new(master: &str) -> Self {
        let ask = |words: &[&str]| {
            let mut pipeline = Pipeline::new();
            for word in words {
                pipeline.cmd("SENTINEL").arg(*word).arg(master);
            }
            pipeline
        };
        MasterQuery {
            master: master.to_owned(),
            plain: ask(&["MASTER"]),
            in_failover: ask(&["MASTER", "GET-MASTER-ADDR-BY-NAME", "MASTER"]),
        }
    }

    async fn send(
        &self,
        (connection, sentinel): &(Connection, String),
    ) -> Result<View, SetupError> {
        let values = connection.send(&self.plain, 1).await?;
        let reply = self.read(values.first())?;
        let (host, port) = match reply.is_in_failover {
            false => (reply.host, reply.port),
            true => return self.send_in_failover(connection, sentinel).await,
        };
        let master = Arc::new(Master { host, port, epoch: reply.epoch });
        Ok(View { sentinel: sentinel.clone(), master, others: reply.others })
    }

    /// During a failover that it carries out, a sentinel knows the new epoch before it
    /// reports the new master. Only `GET-MASTER-ADDR-BY-NAME` names the new master
    /// then. The epoch counts if it is the same before and after that.
    async fn send_in_failover(
        &self,
        connection: &Connection,
        sentinel: &str,
    ) -> Result<View, SetupError> {
        let values = connection.send(&self.in_failover, 3).await?;
        let (before, behind) = (self.read(values.first())?, self.read(values.get(2))?);
        let address = match values.get(1) {
            Some(Value::Array(parts)) => parts.first().and_then(text).zip(parts.get(1)),
            _ => None,
        };
        let address = address.and_then(|(host, port)| Some((host, port_of(port)?)));
        let (Some((host, port)), true) = (address, before.epoch == behind.epoch) else {
            return Err(SetupError::unavailable("it changes its view at this moment"));
        };
        let master = Arc::new(Master { host: host.to_owned(), port, epoch: behind.epoch });
        Ok(View { sentinel: sentinel.to_owned(), master, others: behind.others })
    }

    fn read(&self, value: Option<&Value>) -> Result<MasterReply, SetupError> {
        match value {
            Some(Value::ServerError(error)) if error.code() == "NOPERM" => {
                Err(SetupError::unfit_server("SENTINEL MASTER is refused: allow it to the user"))
            }
            Some(Value::ServerError(_)) | None => Err(SetupError::unavailable(format!(
                "it knows no master by the name {:?}",
                self.master
            ))),
            Some(value) => MasterReply::read(value)
                .ok_or_else(|| SetupError::unavailable("its answer is not understood")),
        }
    }
}

/// The relevant fields of the reply to `SENTINEL MASTER`.
#[derive(Debug, Default, PartialEq, Eq)]
struct MasterReply {
    host: String,
    port: u16,
    epoch: u64,
    others: usize,
    is_in_failover: bool,
}

impl MasterReply {
    fn read(value: &Value) -> Option<MasterReply> {
        let mut reply = MasterReply::default();
        let mut seen = 0;
        let mut take = |name: &Value, value: &Value| {
            seen += 1;
            match text(name)? {
                "ip" => reply.host = text(value)?.to_owned(),
                "port" => reply.port = port_of(value)?,
                "config-epoch" => reply.epoch = number(value)?,
                "num-other-sentinels" => reply.others = usize::try_from(number(value)?).ok()?,
                "flags" => {
                    let mut flags = text(value)?.split(',');
                    reply.is_in_failover = flags.any(|flag| flag == "failover_in_progress");
                }
                _ => seen -= 1,
            }
            Some(())
        };
        match value {
            Value::Map(pairs) => pairs.iter().try_for_each(|(name, value)| take(name, value))?,
            Value::Array(all) => all.chunks_exact(2).try_for_each(|it| take(&it[0], &it[1]))?,
            _ => return None,
        }
        (seen == 5).then_some(reply)
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

fn port_of(value: &Value) -> Option<u16> {
    u16::try_from(number(value)?).ok()
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::MasterReply;

    fn answer(pairs: &[(&str, &str)]) -> Value {
        let text = |text: &str| Value::BulkString(text.into());
        Value::Map(pairs.iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    #[test]
    fn an_answer_has_all_that_counts_or_is_none() {
        let mut pairs = vec![
            ("name", "mymaster"),
            ("ip", "10.0.0.1"),
            ("port", "6379"),
            ("flags", "master,failover_in_progress"),
            ("config-epoch", "7"),
            ("num-other-sentinels", "2"),
        ];
        let reply = MasterReply::read(&answer(&pairs)).unwrap();
        let is_in_failover = true;
        assert_eq!(
            reply,
            MasterReply {
                host: "10.0.0.1".into(),
                port: 6379,
                epoch: 7,
                others: 2,
                is_in_failover
            }
        );
        pairs[3].1 = "master,s_down,o_down";
        assert!(!MasterReply::read(&answer(&pairs)).unwrap().is_in_failover);
        pairs.pop();
        assert_eq!(MasterReply::read(&answer(&pairs)), None);
    }
}
