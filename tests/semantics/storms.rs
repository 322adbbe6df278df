//! Everything at once: whatever is called, cancelled, killed and dropped, each call ends and nothing is left.

use std::thread;
use std::time::Duration;

use mobula::prelude::*;
use mobula::{cancel, kill, wait};

use crate::common::{Dice, Env, Journal, Latch, SOON, of_this_process};
use crate::fixtures::{Kind, Subject, Wish, add, explode, hold, loop_until_told, parse};

#[remote]
fn show(number: i64) -> String {
    number.to_string()
}

/// Asks an actor, and another task.
#[remote]
fn ask(subject: ActorHandle<dyn Subject>, number: i64) -> mobula::Result<i64> {
    let noted = subject.note.remote(show::remote(add::remote(number, 1))).get()?;
    Ok(i64::try_from(noted).unwrap_or(0))
}

/// Makes an actor, and leaves it to whoever reads this.
#[remote]
fn hire(journal: Journal, kind: usize) -> ActorHandle<dyn Subject> {
    Kind::ALL[kind].make(journal, "it")
}

/// One caller among several, and all that it has made.
struct Caller {
    dice: Dice,
    journal: Journal,
    open: Latch,
    numbers: Vec<ObjectRef<i64>>,
    notes: Vec<ObjectRef<usize>>,
    ends: Vec<ObjectRef<()>>,
    actors: Vec<ActorHandle<dyn Subject>>,
}

impl Caller {
    fn new(seed: u64) -> Self {
        let open = Latch::new();
        open.open();
        let numbers = vec![add::remote(0, 1)];
        let journal = Journal::new();
        let actors = vec![Kind::Thread.make(journal, "it")];
        Self { dice: Dice(seed), journal, open, numbers, notes: Vec::new(), ends: Vec::new(), actors }
    }

    fn number(&mut self) -> ObjectRef<i64> {
        let near = self.numbers.len().min(20);
        self.numbers[self.numbers.len() - 1 - self.dice.roll(near)].clone()
    }

    fn actor(&mut self) -> ActorHandle<dyn Subject> {
        let which = self.dice.roll(self.actors.len());
        self.actors[which].clone()
    }

    fn wish(&mut self) -> Wish {
        Wish {
            restarts: u32::try_from(self.dice.roll(4)).unwrap_or(0),
            call_retries: u32::try_from(self.dice.roll(3)).unwrap_or(0),
            retries_errors: self.dice.roll(2) == 0,
            calls_max: (self.dice.roll(3) == 0).then_some(5),
        }
    }

    fn short(&mut self) -> Duration {
        Duration::from_micros(100 * self.dice.roll(50) as u64)
    }

    fn step(&mut self) {
        let time = self.short();
        match self.dice.roll(22) {
            0..3 => {
                let (x, y) = (self.number(), self.number());
                self.numbers.push(add::remote(x, y));
            }
            3 => self.numbers.push(parse::remote(["7", "x"][self.dice.roll(2)])),
            4 => self.numbers.push(explode::options().retry_on_error(true).remote("storm")),
            5 => self.numbers.push(hold::options().num_cpus(0.5).timeout(time).remote(self.open, 3)),
            6 => self.ends.push(loop_until_told::options().timeout(time).remote(self.journal, "loop")),
            7 => {
                let (actor, number) = (self.actor(), self.number());
                self.numbers.push(ask::options().num_gpus(0.25).remote(actor, number));
            }
            8 => {
                let (kind, wish) = (Kind::ALL[self.dice.roll(3)], self.wish());
                self.actors.push(kind.make_with(self.journal, "it", wish));
            }
            9..12 => {
                let text = show::remote(self.number());
                let note = self.actor().note.remote(text);
                self.notes.push(note);
            }
            12 => {
                let note = self.actor().note.options().timeout(time).remote("in time?");
                self.notes.push(note);
            }
            13 => {
                let actor = self.actor();
                let end = if self.dice.roll(2) == 0 {
                    actor.crash.remote("storm")
                } else {
                    actor.refuse.remote("no")
                };
                self.ends.push(end);
            }
            14 => {
                let other = self.actor();
                // Only towards those that came before: a circle would need to be killed.
                if let Some(at) = self.actors.iter().position(|actor| actor.id() == other.id())
                    && at + 1 < self.actors.len()
                {
                    let keeper = &self.actors[at + 1];
                    self.ends.push(keeper.keep.remote(other));
                }
            }
            15 if self.actors.len() > 1 => {
                let which = self.dice.roll(self.actors.len());
                drop(self.actors.remove(which));
            }
            16 if self.dice.roll(4) == 0 => drop(kill(&self.actor())),
            17 => {
                let which = self.numbers.len() - 1 - self.dice.roll(self.numbers.len().min(10));
                drop(cancel(&self.numbers[which]));
            }
            18 => {
                if let Some(note) = self.notes.last() {
                    drop(cancel(note));
                }
            }
            19 => {
                let which = self.dice.roll(self.numbers.len());
                self.numbers.truncate(which.max(1));
            }
            20 => {
                let list: Vec<_> = self.ends.iter().rev().take(3).cloned().collect();
                if !list.is_empty() {
                    drop(wait(list, 1, Some(time)));
                }
            }
            _ => {
                let hired = hire::remote(self.journal, self.dice.roll(3));
                if let Ok(actor) = hired.get_timeout(time) {
                    self.actors.push(actor);
                }
            }
        }
    }

    /// Waits until each call has ended, in whichever way.
    fn settle(self) {
        fn settle<T: Send + Sync + 'static>(refs: &[ObjectRef<T>]) {
            if refs.is_empty() {
                return;
            }
            let (_, pending) = wait(refs, refs.len(), Some(SOON)).expect("the driver may wait");
            assert!(pending.is_empty(), "{} never ended, such as {:?}", pending.len(), pending[0]);
        }
        settle(&self.numbers);
        settle(&self.notes);
        settle(&self.ends);
    }
}

fn callers(seed: u64, steps: usize) -> Vec<thread::JoinHandle<Caller>> {
    let caller = |n: u64| {
        move || {
            let mut caller = Caller::new(seed * 10 + n);
            for _ in 0..steps {
                caller.step();
            }
            caller
        }
    };
    (0..3).map(|n| thread::spawn(caller(n))).collect()
}

pub(crate) fn each_call_ends(env: &Env) {
    for seed in 0..4 {
        let _running = env.start_with(env.config().num_cpus(2.0).num_gpus(1.0));
        for caller in callers(seed, 400) {
            caller.join().expect("no panic").settle();
        }
    }
}

pub(crate) fn the_session_ends_in_the_midst_of_it(env: &Env) {
    for seed in 0..8 {
        let config = env.config().num_cpus(2.0).num_gpus(1.0).shutdown_grace(Duration::from_mins(10));
        let running = env.start_with(config);
        let callers = callers(100 + seed, 300);
        let waits = Latch::new();
        waits.wait_at_most(Duration::from_millis(5 * seed));
        // Whatever runs listens, so nobody needs the grace.
        running.shut_down();
        for caller in callers {
            caller.join().expect("no panic").settle();
        }
    }
    assert!(of_this_process("Threads:") < 100);
}
