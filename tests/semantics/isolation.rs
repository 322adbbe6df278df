//! Rule 12, as far as one process goes: what shares a thread, what moves, what needs more than threads.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use mobula::prelude::*;
use mobula::{get, put};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{Env, Latch, assert_fails, of_this_process};
use crate::fixtures::add;

/// The number of the running thread, as text.
fn thread_id() -> String {
    format!("{:?}", thread::current().id())
}

struct Threaded;

#[remote]
impl Threaded {
    pub(crate) fn new() -> Self {
        Self
    }
    pub(crate) fn thread(&self) -> String {
        thread_id()
    }
}

pub(crate) fn a_sync_class_has_a_thread_of_its_own(env: &Env) {
    let _running = env.start();
    let actors: Vec<_> = (0..5).map(|_| Threaded::remote()).collect();
    let mut threads = BTreeSet::from([thread_id()]);
    for actor in &actors {
        let calls: Vec<_> = (0..20).map(|_| actor.thread.remote()).collect();
        let of_one: BTreeSet<_> = get(&calls).expect("calls").into_iter().collect();
        assert_eq!(of_one.len(), 1, "always the same");
        threads.extend(of_one);
    }
    assert_eq!(threads.len(), 6, "and nobody else's");
}

pub(crate) fn very_many_small_actors_share_few_threads(env: &Env) {
    let _running = env.start();
    let actors: Vec<_> = (0..5_000).map(|_| Threaded::options().isolation("shared").remote()).collect();
    let calls: Vec<_> = actors.iter().map(|actor| actor.thread.remote()).collect();
    let threads: BTreeSet<_> = get(&calls).expect("calls").into_iter().collect();
    assert!(threads.len() <= thread::available_parallelism().map_or(2, usize::from), "{}", threads.len());
    assert!(of_this_process("Threads:") < 100, "{}", of_this_process("Threads:"));
}

pub(crate) fn very_many_async_actors_share_few_threads(env: &Env) {
    struct Small(u32);
    #[remote]
    impl Small {
        pub(crate) fn new(number: u32) -> Self {
            Self(number)
        }
        pub(crate) async fn number(&self) -> u32 {
            tokio::task::yield_now().await;
            self.0
        }
    }
    let _running = env.start();
    let actors: Vec<_> = (0..5_000).map(Small::remote).collect();
    let calls: Vec<_> = actors.iter().map(|actor| actor.number.remote()).collect();
    assert_eq!(get(&calls).expect("calls"), (0..5_000).collect::<Vec<_>>());
    assert!(of_this_process("Threads:") < 100, "{}", of_this_process("Threads:"));
}

/// A value that nothing may serialise.
#[derive(Clone, Debug, PartialEq)]
struct Private(u32);

impl Serialize for Private {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it stays here"))
    }
}

impl<'de> Deserialize<'de> for Private {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("it comes from nowhere else"))
    }
}

pub(crate) fn values_move_without_being_serialised(env: &Env) {
    struct Keeper {
        kept: Private,
    }
    #[remote]
    impl Keeper {
        pub(crate) fn new(kept: Private) -> Self {
            Self { kept }
        }
        pub(crate) fn exchange(&mut self, other: Private) -> Private {
            std::mem::replace(&mut self.kept, other)
        }
    }
    #[remote]
    fn next(of: Private) -> Private {
        Private(of.0 + 1)
    }
    let _running = env.start();
    let second = next::remote(next::remote(put(Private(1)).expect("put")));
    let keeper = Keeper::remote(second);
    assert_eq!(keeper.exchange.remote(Private(9)).get().expect("a call"), Private(3));
}

pub(crate) fn a_borrowed_parameter_lies_where_the_object_does(env: &Env) {
    #[remote]
    fn place(numbers: &[u64]) -> usize {
        numbers.as_ptr().addr()
    }
    let _running = env.start();
    let numbers = put(vec![7_u64; 1_000_000]).expect("put");
    let here = numbers.view().expect("there").as_ptr().addr();
    let places: Vec<_> = (0..4).map(|_| place::remote(&numbers)).collect();
    assert_eq!(get(&places).expect("calls"), [here; 4]);
    let again = numbers.view().expect("there");
    assert_eq!(again.as_ptr().addr(), here, "a view copies nothing");
}

pub(crate) fn timers_work_in_an_async_class(env: &Env) {
    struct Clock;
    #[remote]
    impl Clock {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) async fn tick(&self, never: Latch) -> bool {
            tokio::time::sleep(Duration::from_millis(1)).await;
            tokio::time::timeout(Duration::from_millis(1), never.pass()).await.is_err()
        }
    }
    let _running = env.start();
    assert!(Clock::remote().tick.remote(Latch::new()).get().expect("a timer"));
}

/// Sends a text through a socket.
async fn echo(text: &str) -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut client = TcpStream::connect(listener.local_addr()?).await?;
    let (mut server, _) = listener.accept().await?;
    server.write_all(text.as_bytes()).await?;
    drop(server);
    let mut echo = String::new();
    client.read_to_string(&mut echo).await?;
    Ok(echo)
}

pub(crate) fn sockets_work_in_an_async_class(env: &Env) {
    struct Echo;
    #[remote]
    impl Echo {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) async fn method(&self, text: &str) -> Result<String, std::io::Error> {
            echo(text).await
        }
    }
    #[remote]
    async fn function(text: &str) -> Result<String, std::io::Error> {
        echo(text).await
    }
    let _running = env.start();
    let echoes = [Echo::remote().method.remote("hello"), function::remote("hello")];
    assert_eq!(get(&echoes).expect("a socket each"), ["hello", "hello"]);
}

pub(crate) fn what_needs_processes_says_that_it_is_unsupported(env: &Env) {
    #[remote(env(KEY = "value"))]
    fn by_env() {}
    let _running = env.start();
    assert_fails(by_env::remote().get(), ErrorKind::Unsupported);
    assert_fails(add::options().env("KEY", "value").remote(1, 2).get(), ErrorKind::Unsupported);
    let on_threads = add::options().isolation("thread");
    assert_fails(on_threads.clone().max_calls(3).remote(1, 2).get(), ErrorKind::Unsupported);
    assert_eq!(on_threads.remote(1, 2).get().expect("it is one"), 3);
    assert_fails(Config::new().address("localhost:1").init().map(drop), ErrorKind::AlreadyInitialized);
}

pub(crate) fn no_socket_is_opened(env: &Env) {
    fn sockets() -> usize {
        let open = std::fs::read_dir("/proc/self/fd").expect("Linux lists what is open");
        let links = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }
    env.in_a_process_of_its_own(&[], || {
        let before = sockets();
        let _running = env.start();
        let actor = Threaded::options().isolation("shared").remote();
        actor.thread.remote().get().expect("a call");
        add::remote(1, 2).get().expect("a sum");
        assert_eq!(sockets(), before);
    });
}

pub(crate) fn ten_thousand_nested_waits_finish_on_two_cpus(env: &Env) {
    #[remote]
    fn nested(depth: u32) -> mobula::Result<u32> {
        if depth == 0 { Ok(0) } else { Ok(nested::remote(depth - 1).get()? + 1) }
    }
    env.in_a_process_of_its_own(&[], || {
        let running = env.start_with(env.config().num_cpus(2.0));
        assert_eq!(nested::remote(10_000).get().expect("all the way down"), 10_000);
        assert!(of_this_process("VmHWM:") < 300_000_000, "{} bytes", of_this_process("VmHWM:"));
        assert_eq!(mobula::testing::leftovers().threads, 0, "idle members have gone");
        drop(running);
    });
}

pub(crate) fn the_pool_grows_while_members_block_and_shrinks_after(env: &Env) {
    #[remote]
    fn nested(depth: u32) -> mobula::Result<u32> {
        if depth == 0 { Ok(0) } else { Ok(nested::remote(depth - 1).get()? + 1) }
    }
    let _running = env.start_with(env.config().num_cpus(2.0));
    assert_eq!(nested::remote(200).get().expect("all the way down"), 200);
    let peak = mobula::testing::threads_peak();
    assert!(peak >= 200, "{peak} threads for 200 that block");
    let left = mobula::testing::leftovers();
    assert_eq!(left.threads, 0, "idle members have gone");
    assert_eq!(add::remote(1, 1).get().expect("others come"), 2);
}
