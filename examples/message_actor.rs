//! A mailbox: tasks push messages to an actor, and the program reads them while the tasks still run.
//!
//! Run it with `cargo run --release --example message_actor`. Three workers send a message in each of their
//! rounds. Between the rounds it prints `New messages: […]`, what has come since the last time: nothing at
//! first, then about three at a time, in the order in which they came.

use std::thread::sleep;
use std::time::Duration;

use clap::Parser;
use mobula::prelude::*;

/// Three workers that send messages to one actor.
#[derive(Parser)]
struct Options {
    /// Messages that each worker sends
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Milliseconds between two messages of a worker
    #[arg(long, default_value_t = 200)]
    pause_ms: u64,
}

/// Keeps messages until somebody fetches them.
#[derive(Default)]
pub struct MessageActor {
    messages: Vec<String>,
}

#[remote]
impl MessageActor {
    /// No messages yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps one more.
    pub fn add_message(&mut self, message: String) {
        self.messages.push(message);
    }

    /// All that came since the last time.
    pub fn get_and_clear_messages(&mut self) -> Vec<String> {
        std::mem::take(&mut self.messages)
    }
}

#[remote]
fn worker(message_actor: &ActorHandle<MessageActor>, j: u32, rounds: u32, pause: Duration) {
    for i in 0..rounds {
        sleep(pause);
        message_actor.add_message.remote(format!("Message {i} from actor {j}."));
    }
}

fn main() -> mobula::Result<()> {
    let options = Options::parse();
    let pause = Duration::from_millis(options.pause_ms);
    // A task holds its CPU while it sleeps: with three, all workers run at once on any machine.
    let _session = Config::new().num_cpus(3.0).init()?;

    let message_actor = MessageActor::remote();
    let workers: Vec<_> = (0..3).map(|j| worker::remote(&message_actor, j, options.rounds, pause)).collect();

    let mut are_at_work = true;
    loop {
        println!("New messages: {:?}", message_actor.get_and_clear_messages.remote().get()?);
        if !are_at_work {
            break;
        }
        // A pause that ends early when the last worker does.
        let (_, at_work) = mobula::wait(&workers, workers.len(), Some(pause))?;
        are_at_work = !at_work.is_empty();
    }
    mobula::get(&workers)?;
    Ok(())
}
