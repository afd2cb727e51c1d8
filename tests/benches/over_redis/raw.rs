//! A plain client: the redis crate's multiplexed connection, driven by a thread
//! of its own, asked by others and given up after a time, as the cache does it.

use std::future::pending;
use std::sync::mpsc::sync_channel;
use std::thread;

use futures_executor::block_on;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, Value};
use tokio::runtime::{Builder, Handle};

use super::LONG;

/// A connection that answers whoever asks, and nobody else.
pub struct Raw {
    connection: MultiplexedConnection,
    handle: Handle,
}

impl Raw {
    pub fn connect(url: &str) -> Raw {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let client = Client::open(format!("{url}?protocol=resp3")).unwrap();
        let (tell, told) = sync_channel(1);
        thread::spawn(move || {
            runtime.block_on(async {
                let config = AsyncConnectionConfig::new().set_response_timeout(None);
                let config = config.set_connection_timeout(Some(LONG));
                let opening = client.get_multiplexed_async_connection_with_config(&config);
                tell.send(opening.await.unwrap()).unwrap();
                pending::<()>().await
            })
        });
        Raw { connection: told.recv().unwrap(), handle }
    }

    /// Sends a command and waits for the answer.
    pub fn ask(&self, command: &Cmd) -> Value {
        let mut connection = self.connection.clone();
        self.wait(connection.send_packed_command(command))
    }

    /// Sends many at once, and drops the answers.
    pub fn send(&self, commands: &Pipeline) {
        let mut connection = self.connection.clone();
        let count = commands.cmd_iter().count();
        self.wait(connection.send_packed_commands(commands, 0, count));
    }

    fn wait<T>(&self, work: impl Future<Output = redis::RedisResult<T>>) -> T {
        let timer = {
            let _context = self.handle.enter();
            tokio::time::timeout(LONG, work)
        };
        block_on(timer).unwrap().unwrap()
    }
}
