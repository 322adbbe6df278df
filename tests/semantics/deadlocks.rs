//! Rule 10: a wait that could never end is refused, naming the circle; and nothing else is.

use std::time::Duration;

use mobula::prelude::*;
use mobula::{Error, context, get, put, tree_reduce_unordered, wait};

use crate::common::{Env, Gauge, Latch, SOON, assert_fails};

/// Waits for other actors, and for itself.
struct Node {
    next: Option<ActorHandle<Node>>,
}

#[remote]
impl Node {
    pub(crate) fn new() -> Self {
        Self { next: None }
    }
    pub(crate) fn connect(&mut self, next: ActorHandle<Node>) {
        self.next = Some(next);
    }
    /// Asks on around the ring until `hops` are used up.
    pub(crate) fn ask(&mut self, hops: u32) -> mobula::Result<u32> {
        match &self.next {
            Some(next) if hops > 0 => Ok(next.ask.remote(hops - 1).get()? + 1),
            _ => Ok(0),
        }
    }
    pub(crate) fn wait_for_itself(&mut self, how: &str) -> mobula::Result<u32> {
        let call = context().actor::<Node>()?.ask.remote(0);
        match how {
            "get" => call.get(),
            "get_timeout" => call.get_timeout(SOON),
            "view" => call.view().map(|view| *view),
            "list" => get(&[put(1)?, call]).map(|all| all[0]),
            "wait" => wait([call], 1, None)?.0[0].get(),
            "completed" => as_completed([call]).next().expect("one ref").get(),
            _ => add_one::remote(call).get(),
        }
    }
    pub(crate) fn answer(&self) -> u32 {
        u32::from(self.next.is_some())
    }
}

#[remote]
fn add_one(x: u32) -> u32 {
    x + 1
}

/// The same as an async class.
struct AsyncNode {
    next: Option<ActorHandle<AsyncNode>>,
}

#[remote]
impl AsyncNode {
    pub(crate) fn new() -> Self {
        Self { next: None }
    }
    pub(crate) fn connect(&mut self, next: ActorHandle<AsyncNode>) {
        self.next = Some(next);
    }
    pub(crate) async fn ask(&mut self, hops: u32) -> mobula::Result<u32> {
        match &self.next {
            Some(next) if hops > 0 => Ok(next.ask.remote(hops - 1).await? + 1),
            _ => Ok(0),
        }
    }
    /// The same without changing anything, so that calls may overlap.
    pub(crate) async fn look(&self, hops: u32) -> mobula::Result<u32> {
        match &self.next {
            Some(next) if hops > 0 => Ok(next.look.remote(hops - 1).await? + 1),
            _ => Ok(0),
        }
    }
    pub(crate) async fn look_and_ask(&self) -> mobula::Result<u32> {
        context().actor::<AsyncNode>()?.ask.remote(0).await
    }
}

/// Ends actors that hold each other.
fn end_all<C: mobula::Class>(ring: &[ActorHandle<C>]) {
    for node in ring {
        mobula::kill(node).expect("a session runs");
    }
}

fn assert_deadlock<T: std::fmt::Debug>(end: mobula::Result<T>, names: &[&str]) -> Error {
    let error = assert_fails(end, ErrorKind::Deadlock);
    for name in names {
        assert!(error.to_string().contains(name), "it names `{name}`: {error}");
    }
    error
}

pub(crate) fn an_actor_that_waits_for_itself_is_told_so(env: &Env) {
    let _running = env.start();
    let node = Node::remote();
    for how in ["get", "get_timeout", "view", "list", "wait", "completed", "through a task"] {
        let end = node.wait_for_itself.remote(how).get_timeout(SOON);
        let error = assert_deadlock(end, &["Node.wait_for_itself", "Node.ask"]);
        assert_eq!(error.function(), Some("Node.wait_for_itself"), "{how}");
        assert_eq!(node.answer.remote().get().expect("it lives"), 0, "{how}");
    }
}

pub(crate) fn actors_that_wait_for_each_other_are_told_so(env: &Env) {
    let _running = env.start();
    for length in [2, 3, 10] {
        let ring: Vec<_> = (0..length).map(|_| Node::remote()).collect();
        for (node, next) in ring.iter().zip(ring.iter().cycle().skip(1)) {
            node.connect.remote(next).get().expect("connected");
        }
        assert_eq!(ring[0].ask.remote(length - 1).get().expect("not quite around"), length - 1);
        assert_deadlock(ring[0].ask.remote(length).get_timeout(SOON), &["Node.ask"]);
        assert_eq!(ring[1].ask.remote(length - 1).get().expect("they live"), length - 1);
        end_all(&ring);
    }
}

pub(crate) fn async_actors_that_wait_for_each_other_are_told_so(env: &Env) {
    let _running = env.start();
    for length in [1, 2, 5] {
        let ring: Vec<_> = (0..length).map(|_| AsyncNode::remote()).collect();
        for (node, next) in ring.iter().zip(ring.iter().cycle().skip(1)) {
            node.connect.remote(next).get().expect("connected");
        }
        assert_eq!(ring[0].ask.remote(length - 1).get().expect("not quite around"), length - 1);
        assert_deadlock(ring[0].ask.remote(length).get_timeout(SOON), &["AsyncNode.ask"]);
        assert_eq!(ring[0].ask.remote(0).get().expect("they live"), 0);
        end_all(&ring);
    }
}

pub(crate) fn a_shared_call_that_awaits_an_exclusive_one_of_its_actor_is_told_so(env: &Env) {
    let _running = env.start();
    let node = AsyncNode::remote();
    assert_deadlock(node.look_and_ask.remote().get_timeout(SOON), &["look_and_ask", "ask"]);
    assert_eq!(node.ask.remote(0).get().expect("it lives"), 0);
}

/// Reads itself while it reads.
struct Reader;

#[remote]
impl Reader {
    pub(crate) fn new() -> Self {
        Self
    }
    pub(crate) fn read(&self, depth: u32) -> mobula::Result<u32> {
        match depth {
            0 => Ok(0),
            _ => Ok(context().actor::<Reader>()?.read.remote(depth - 1).get()? + 1),
        }
    }
    /// Waits for the others before it does the same.
    pub(crate) fn read_together(&self, gauge: Gauge, count: usize) -> mobula::Result<u32> {
        let _inside = gauge.enter();
        gauge.expect(count);
        self.read(1)
    }
}

pub(crate) fn a_shared_method_with_no_room_for_another_is_told_so(env: &Env) {
    let _running = env.start();
    let reader = Reader::remote();
    assert_deadlock(reader.read.remote(1).get_timeout(SOON), &["Reader.read"]);
    assert_eq!(reader.read.remote(0).get().expect("it lives"), 0);
    let reader = Reader::options().max_concurrency(3).remote();
    assert_eq!(reader.read.remote(2).get_timeout(SOON).expect("there is room"), 2);
    assert_deadlock(reader.read.remote(3).get_timeout(SOON), &["Reader.read"]);
    // Three at once, each of which needs a fourth.
    let gauge = Gauge::new();
    let calls: Vec<_> = (0..3).map(|_| reader.read_together.remote(gauge, 3)).collect();
    let ends: Vec<_> = calls.iter().map(|call| call.get_timeout(SOON)).collect();
    assert!(ends.iter().any(Result::is_err), "{ends:?}");
    for error in ends.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), ErrorKind::Deadlock, "{error:?}");
    }
    assert_eq!(reader.read.remote(0).get().expect("it lives"), 0);
}

pub(crate) fn an_async_method_with_no_room_for_another_is_told_so(env: &Env) {
    struct AsyncReader;
    #[remote]
    impl AsyncReader {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) async fn read(&self, depth: u32) -> mobula::Result<u32> {
            match depth {
                0 => Ok(0),
                _ => Ok(context().actor::<AsyncReader>()?.read.remote(depth - 1).await? + 1),
            }
        }
    }
    let _running = env.start();
    let reader = AsyncReader::options().max_concurrency(1).remote();
    assert_deadlock(reader.read.remote(1).get_timeout(SOON), &["AsyncReader.read"]);
    assert_eq!(reader.read.remote(0).get().expect("it lives"), 0);
    let reader = AsyncReader::options().max_concurrency(3).remote();
    assert_eq!(reader.read.remote(2).get_timeout(SOON).expect("there is room"), 2);
    assert_deadlock(reader.read.remote(3).get_timeout(SOON), &["AsyncReader.read"]);
}

pub(crate) fn an_actor_that_reads_a_stream_of_its_own_is_told_so(env: &Env) {
    struct Loop;
    #[remote]
    impl Loop {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn items(&mut self) -> impl Iterator<Item = u32> {
            0..3
        }
        pub(crate) fn read(&mut self) -> mobula::Result<u32> {
            let items: Vec<_> = context().actor::<Loop>()?.items.remote().collect();
            Ok(get(&items)?.into_iter().sum())
        }
    }
    let _running = env.start();
    let actor = Loop::remote();
    assert_deadlock(actor.read.remote().get_timeout(SOON), &["Loop.read", "Loop.items"]);
    assert_eq!(actor.items.remote().count(), 3);
}

pub(crate) fn an_unordered_tree_inside_its_own_actor_is_told_so(env: &Env) {
    struct Trunk;
    #[remote]
    impl Trunk {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn join(&mut self, x: u32, y: u32) -> u32 {
            x + y
        }
        pub(crate) fn grow(&mut self, ordered: bool) -> mobula::Result<u32> {
            let me = context().actor::<Trunk>()?;
            let join = move |x, y| me.join.remote(x, y);
            let items = [1, 2, 3];
            let tree = if ordered { tree_reduce(items, join) } else { tree_reduce_unordered(items, join) };
            tree.expect("not empty").get()
        }
    }
    let _running = env.start();
    let trunk = Trunk::remote();
    assert_deadlock(trunk.grow.remote(true).get_timeout(SOON), &["Trunk.grow"]);
    assert_deadlock(trunk.grow.remote(false).get_timeout(SOON), &["Trunk.grow"]);
    assert_eq!(trunk.join.remote(1, 2).get().expect("it lives"), 3);
}

pub(crate) fn calls_that_may_overlap_are_no_deadlock(env: &Env) {
    let _running = env.start();
    let ring = [AsyncNode::remote(), AsyncNode::remote()];
    ring[0].connect.remote(&ring[1]).get().expect("connected");
    ring[1].connect.remote(&ring[0]).get().expect("connected");
    assert_eq!(ring[0].look.remote(20).get().expect("around ten times"), 20);
    end_all(&ring);
}

pub(crate) fn a_task_and_an_actor_that_wait_for_each_other_are_told_so(env: &Env) {
    struct Boss;
    #[remote]
    impl Boss {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn delegate(&mut self) -> mobula::Result<u32> {
            report::remote(context().actor::<Boss>()?).get()
        }
        pub(crate) fn answer(&mut self) -> u32 {
            1
        }
    }
    #[remote]
    fn report(boss: ActorHandle<Boss>) -> mobula::Result<u32> {
        boss.answer.remote().get()
    }
    let _running = env.start();
    let boss = Boss::remote();
    let error = assert_deadlock(boss.delegate.remote().get_timeout(SOON), &["report", "Boss.delegate"]);
    // Whoever came to wait last was refused.
    assert!(matches!(error.function(), Some("report" | "Boss.delegate")), "{error:?}");
    assert_eq!(boss.answer.remote().get().expect("it lives"), 1);
}

pub(crate) fn a_circle_through_an_argument_is_a_circle(env: &Env) {
    struct Owner;
    #[remote]
    impl Owner {
        pub(crate) fn new() -> Self {
            Self
        }
        /// A call of another, whose argument is a call of its own, which is queued behind this one.
        pub(crate) fn pass_on(&mut self, other: &ActorHandle<Node2>) -> mobula::Result<u32> {
            let own = context().actor::<Owner>()?.number.remote();
            other.add.remote(own).get()
        }
        pub(crate) fn number(&mut self) -> u32 {
            1
        }
    }
    struct Node2;
    #[remote]
    impl Node2 {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn add(&self, x: u32) -> u32 {
            x + 1
        }
    }
    let _running = env.start();
    let (owner, other) = (Owner::remote(), Node2::remote());
    assert_deadlock(owner.pass_on.remote(&other).get_timeout(SOON), &["Owner.pass_on"]);
    assert_eq!(owner.number.remote().get().expect("it lives"), 1);
}

pub(crate) fn a_circle_through_a_callers_own_order_is_a_circle(env: &Env) {
    struct Owner;
    #[remote]
    impl Owner {
        pub(crate) fn new() -> Self {
            Self
        }
        /// Waits for its second call to another, which stands behind its first, which waits for this one.
        pub(crate) fn wait_for_second(&mut self, other: &ActorHandle<Adder>) -> mobula::Result<u32> {
            let own = context().actor::<Owner>()?.number.remote();
            let _first = other.add.remote(own);
            other.add.remote(1).get()
        }
        pub(crate) fn number(&mut self) -> u32 {
            1
        }
    }
    struct Adder;
    #[remote]
    impl Adder {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn add(&self, x: u32) -> u32 {
            x + 1
        }
    }
    let _running = env.start();
    let (owner, other) = (Owner::remote(), Adder::remote());
    let end = owner.wait_for_second.remote(&other).get_timeout(Duration::from_secs(3));
    // Whatever it was told, it must not go on waiting.
    mobula::kill(&owner).expect("a session runs");
    assert_deadlock(end, &["Owner.wait_for_second"]);
}

pub(crate) fn a_circle_through_a_constructor_is_a_circle(env: &Env) {
    struct Child;
    #[remote]
    impl Child {
        pub(crate) fn new(parent: &ActorHandle<Parent>) -> mobula::Result<Self> {
            parent.answer.remote().get().map(|_| Self)
        }
        pub(crate) fn answer(&self) -> u32 {
            2
        }
    }
    struct Parent;
    #[remote]
    impl Parent {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn raise(&mut self) -> mobula::Result<u32> {
            Child::remote(context().actor::<Parent>()?).answer.remote().get()
        }
        pub(crate) fn answer(&mut self) -> u32 {
            1
        }
    }
    let _running = env.start();
    let parent = Parent::remote();
    let error = parent.raise.remote().get_timeout(SOON).expect_err("neither can go on");
    let whole = crate::common::in_full(&error);
    assert!(whole.contains("Deadlock"), "{whole}");
    assert_eq!(parent.answer.remote().get().expect("it lives"), 1);
}

pub(crate) fn a_wait_for_some_of_many_is_refused_only_when_it_is_hopeless(env: &Env) {
    struct Chooser;
    #[remote]
    impl Chooser {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn choose(&mut self, latch: Latch, count: usize) -> mobula::Result<usize> {
            let own = context().actor::<Chooser>()?.number.remote();
            let other = crate::fixtures::hold::remote(latch, 1);
            latch.open();
            Ok(wait(vec![own, other], count, None)?.0.len())
        }
        pub(crate) fn number(&mut self) -> i64 {
            1
        }
    }
    let _running = env.start();
    let chooser = Chooser::remote();
    let latch = Latch::new();
    assert_eq!(chooser.choose.remote(latch, 1).get_timeout(SOON).expect("one can come"), 1);
    assert_deadlock(chooser.choose.remote(latch, 2).get_timeout(SOON), &["Chooser.choose"]);
}

pub(crate) fn a_wait_with_a_way_out_is_no_deadlock(env: &Env) {
    let _running = env.start();
    // Two actors that ask each other by turns, not at once.
    let (left, right) = (Node::remote(), Node::remote());
    left.connect.remote(&right).get().expect("connected");
    right.connect.remote(&left).get().expect("connected");
    for _ in 0..50 {
        let calls = [left.ask.remote(1), right.answer.remote()];
        get(&calls).expect("by turns");
        assert_eq!(right.ask.remote(1).get().expect("by turns"), 1);
    }
    // A ring of tasks that wait for each other's actors, without a circle.
    let waits: Vec<_> = (0..20).map(|_| left.answer.remote()).collect();
    assert_eq!(get(&waits).expect("answers"), [1; 20]);
    end_all(&[left, right]);
}

pub(crate) fn two_that_ask_each_other_at_once_are_not_both_left_waiting(env: &Env) {
    let _running = env.start();
    let (left, right) = (Node::remote(), Node::remote());
    left.connect.remote(&right).get().expect("connected");
    right.connect.remote(&left).get().expect("connected");
    for _ in 0..100 {
        let calls = [left.ask.remote(1), right.ask.remote(1)];
        let ends: Vec<_> = calls.iter().map(|call| call.get_timeout(SOON)).collect();
        for end in ends {
            match end {
                Ok(hops) => assert_eq!(hops, 1),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Deadlock, "{error:?}"),
            }
        }
    }
    end_all(&[left, right]);
}

pub(crate) fn an_argument_that_waits_for_its_own_caller_can_wait(env: &Env) {
    struct Owner;
    #[remote]
    impl Owner {
        pub(crate) fn new() -> Self {
            Self
        }
        /// Gives away what is there only when it has returned itself.
        pub(crate) fn promise(&mut self) -> mobula::Result<ObjectRef<u32>> {
            Ok(add_one::remote(context().actor::<Owner>()?.number.remote()))
        }
        pub(crate) fn number(&mut self) -> u32 {
            1
        }
    }
    let _running = env.start();
    let owner = Owner::remote();
    let promised = owner.promise.remote().get().expect("a ref");
    assert_eq!(promised.get().expect("it has returned"), 2);
}
