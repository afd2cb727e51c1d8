//! When a table was last invalidated.

use super::error::LinkError;
use super::link::Link;
use super::stamps::read_everything;
use super::state::SharedState;
use super::times::{BEGINNING, EVERYTHING, SetFound, begin, member, times_key};
use crate::protocol::{Command, Reply};
use crate::write::keys::everything_key;

impl SharedState {
    /// When one of `tables`, given with their prefixes, was last invalidated, or any
    /// at all if there are none. Now, if that cannot be known.
    pub(crate) async fn last_invalidation(&self, tables: &[(String, String)]) -> Option<u64> {
        let Ok(link) = self.link().await else { return Some(self.clock.now()) };
        let check = self.begin_lookup_check();
        let times = async {
            let times = self.read_times(&link, tables).await?;
            self.confirm_master(&link, &check).await?;
            Ok::<_, LinkError>(times)
        };
        match times.await {
            Ok(times) => times,
            Err(error) => {
                self.disconnect(link.session, &error);
                Some(self.clock.now())
            }
        }
    }

    async fn read_times(
        &self,
        link: &Link,
        tables: &[(String, String)],
    ) -> Result<Option<u64>, LinkError> {
        let key = times_key(&self.prefix);
        let mut members: Vec<Vec<u8>> =
            tables.iter().map(|(prefix, table)| member(prefix, table)).collect();
        members.extend([EVERYTHING, BEGINNING].map(|name| name.as_bytes().to_vec()));
        let replies = link
            .run(&[
                Command::Scores(key.clone(), members),
                Command::Highest(key, BEGINNING),
                Command::Get(everything_key(&self.prefix).into()),
            ])
            .await?;
        let scores = |n: usize| match replies.get(n) {
            Some(Reply::Scores(scores)) => scores.as_slice(),
            _ => &[],
        };
        let (beginning, of_tables) = match scores(0).split_last() {
            Some((beginning, of_tables)) => (*beginning, of_tables.iter().flatten().max()),
            None => (None, None),
        };
        let highest = scores(1).iter().flatten().max();
        let everything = replies.get(2).and_then(Reply::value);
        let made_at = everything.and_then(|value| read_everything(value, link));
        let incomplete =
            self.incomplete_since(link, beginning, made_at.map(|(_, made_at)| made_at)).await?;
        let known = if tables.is_empty() { highest } else { of_tables };
        let found = if highest.is_some() { SetFound::Times } else { SetFound::Empty };
        let floor = self.times.floor(found, self.clock.now());
        Ok(known.copied().max(incomplete).max(floor))
    }

    /// Since when the set is complete, if times from before may be lost.
    async fn incomplete_since(
        &self,
        link: &Link,
        beginning: Option<u64>,
        made_at: Option<u64>,
    ) -> Result<Option<u64>, LinkError> {
        if beginning.is_some() || made_at.is_none() {
            return Ok(beginning.filter(|_| beginning != made_at));
        }
        let now = self.clock.now();
        link.run(&[begin(&self.prefix, now)]).await?;
        Ok(Some(now))
    }
}
