//! What no hook tells: writes of other processes, and commits whose last statement was
//! reset. A thread looks for both while a cache is installed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use cacheops::WriteEvent;

use crate::barrier::Undelivered;
use crate::error::Error;
use crate::file::{File, Foreign};
use crate::hooks::Connection;
use crate::registry;

/// How often a commit is looked at that no hook will end.
const LOOK: Duration = Duration::from_millis(2);
/// How often what could not be delivered is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How many commits are kept row by row that could not be delivered.
const MOST_UNDELIVERED: usize = 100;
/// How many files that no connection has open are kept in sight.
const MOST_UNUSED: usize = 256;

/// The files that connections have opened.
static FILES: Mutex<Option<HashMap<PathBuf, Arc<File>>>> = Mutex::new(None);

static MONITOR: Monitor = Monitor { work: Mutex::new(Work::new()), wake: Condvar::new() };

struct Monitor {
    work: Mutex<Work>,
    wake: Condvar,
}

struct Work {
    running: bool,
    /// Connections with commits whose end no hook will tell.
    open_ended: Vec<Weak<Connection>>,
    undelivered: Vec<Undelivered>,
}

impl Work {
    const fn new() -> Self {
        Work { running: false, open_ended: Vec::new(), undelivered: Vec::new() }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread, unless it runs.
pub(crate) fn start() -> Result<(), Error> {
    let mut work = locked(&MONITOR.work);
    if !work.running {
        let thread = thread::Builder::new().name("cacheops-sqlite".to_owned());
        thread.spawn(|| MONITOR.run()).map_err(|error| Error::NoThread(error.to_string()))?;
        work.running = true;
    }
    drop(work);
    MONITOR.wake.notify_all();
    Ok(())
}

/// Closes the files that no connection has open. The thread ends when it finds that no
/// cache is installed.
pub(crate) fn stop() {
    let files = locked(&FILES).take().unwrap_or_default();
    let used = files.into_iter().filter(|(_, file)| Arc::strong_count(file) > 1).collect();
    *locked(&FILES) = Some(used);
    MONITOR.wake.notify_all();
}

/// Keeps an eye on a file from now on.
pub(crate) fn watch(path: PathBuf) -> Arc<File> {
    let mut files = locked(&FILES);
    let files_of = files.get_or_insert_default();
    let mut gone = Vec::new();
    if let Some(file) = files_of.get(&path) {
        if !file.is_replaced() {
            return Arc::clone(file);
        }
        gone.extend(files_of.remove(&path));
    }
    if files_of.len() >= MOST_UNUSED {
        let unused = files_of.extract_if(|_, file| Arc::strong_count(file) == 1);
        gone.extend(unused.map(|(_, file)| file));
    }
    let file = Arc::new(File::new(path.clone()));
    files_of.insert(path, Arc::clone(&file));
    drop(files);
    for file in gone {
        tell(&file.all());
    }
    file
}

/// Files that are in sight.
pub(crate) fn files() -> Vec<Arc<File>> {
    locked(&FILES).iter().flat_map(|files| files.values().cloned()).collect()
}

/// A commit has begun whose end no hook will tell.
pub(crate) fn await_end(connection: Weak<Connection>) {
    locked(&MONITOR.work).open_ended.push(connection);
    MONITOR.wake.notify_all();
}

/// Delivers later what could not be delivered.
pub(crate) fn deliver_later(undelivered: Undelivered) {
    let mut work = locked(&MONITOR.work);
    work.undelivered.push(undelivered);
    if work.undelivered.len() > MOST_UNDELIVERED {
        Undelivered::merge(&mut work.undelivered);
    }
    drop(work);
    MONITOR.wake.notify_all();
}

/// Looks whether others have written to a file, and tells the caches.
pub(crate) fn look_at_files() {
    for file in files() {
        if file.is_replaced() {
            let forgotten = locked(&FILES).as_mut().and_then(|files| files.remove(file.path()));
            if forgotten.is_some() {
                tell(&file.all());
            }
        } else {
            tell(&file.foreign());
        }
    }
}

/// Tells all caches what others have changed.
fn tell(foreign: &Foreign) {
    let events = || match foreign {
        Foreign::Nothing => Vec::new(),
        Foreign::Tables(tables) => tables.iter().map(|table| WriteEvent::table(table)).collect(),
        Foreign::Everything => vec![WriteEvent::everything()],
    };
    if *foreign != Foreign::Nothing {
        for installation in registry::current().iter() {
            Undelivered::new(installation, events()).deliver();
        }
    }
}

impl Monitor {
    fn run(&self) {
        let mut last_look = Instant::now();
        let mut last_try = Instant::now();
        while let Some(interval) = shortest_interval() {
            let until_look = interval.map(|interval| interval.saturating_sub(last_look.elapsed()));
            let left = self.wait(until_look).into_iter().filter(|connection| {
                connection.upgrade().is_some_and(|connection| !connection.end_commits())
            });
            let left: Vec<_> = left.collect();
            locked(&self.work).open_ended.extend(left);
            if interval.is_some_and(|interval| last_look.elapsed() >= interval) {
                last_look = Instant::now();
                look_at_files();
            }
            if last_try.elapsed() >= RETRY {
                last_try = Instant::now();
                let undelivered = std::mem::take(&mut locked(&self.work).undelivered);
                undelivered.into_iter().for_each(Undelivered::deliver);
            }
        }
    }

    /// Waits until there may be something to do; the connections with open ends.
    fn wait(&self, until_look: Option<Duration>) -> Vec<Weak<Connection>> {
        let work = locked(&self.work);
        let mut limit = until_look.unwrap_or(Duration::from_secs(3600));
        if !work.undelivered.is_empty() {
            limit = limit.min(RETRY);
        }
        if !work.open_ended.is_empty() {
            limit = limit.min(LOOK);
        }
        let waited = self.wake.wait_timeout(work, limit);
        let mut work = waited.unwrap_or_else(PoisonError::into_inner).0;
        std::mem::take(&mut work.open_ended)
    }
}

/// How often files are looked at: `Some(None)` if they are not. `None` if no cache is
/// installed: then the thread ends.
fn shortest_interval() -> Option<Option<Duration>> {
    // Under the lock by which `start` finds out whether it runs.
    let mut work = locked(&MONITOR.work);
    let installed = registry::current();
    if installed.is_empty() {
        work.running = false;
        return None;
    }
    Some(installed.iter().map(|each| each.external_writes).filter(|each| !each.is_zero()).min())
}
