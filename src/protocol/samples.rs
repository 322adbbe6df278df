//! One message of each kind, as sessions send them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Leased, Message, Said, Told, VERSION, read};
use crate::error::{Error, ErrorKind};
use crate::id::{ActorId, CallerId, JobId, NodeId, ObjectId, Place, WorkerId};
use crate::id::{Extent, SegmentId};
use crate::resource::{Quantity, ResourceSet};
use crate::spec::{Options, Retry};

const WORKER: WorkerId = WorkerId(7);
const OBJECT: ObjectId = ObjectId { owner: WORKER, place: Place { index: 3, generation: 1 } };
const ACTOR: ActorId = ActorId { owner: WorkerId(0), place: Place { index: 2, generation: 0 } };
const CALLER: CallerId = CallerId::Driver(JobId(1));
const RETRY: Option<Retry> = Some(Retry { retries: 3, on_error: false });
pub(crate) const SEGMENT: SegmentId = SegmentId { worker: WorkerId(1), index: 0 };

fn error() -> Error {
    let cause = Error::new(ErrorKind::TaskPanicked, "index out of bounds").located("examples/a.rs:3:7");
    let error = Error::new(ErrorKind::TaskFailed, "invalid digit").caused_by(cause);
    error.at("parse", NodeId(0), 2).passed_on("sum").passed_on("mean")
}

fn leased() -> Leased {
    let resources = ResourceSet::one_cpu().with("GPU", Quantity::ONE);
    Leased { resources, gpus: vec![(0, Quantity::ONE)] }
}

fn options() -> Box<Options> {
    let options = Options::new().num_cpus(0.5).resource("tpu", 2.0).timeout(Duration::from_millis(1_500));
    Box::new(options.name("shard-3").env("MODE", "fast").isolation("process"))
}

/// All kinds of messages.
pub(crate) fn messages() -> Vec<Message> {
    let all = [parents(), workers(), both()].concat();
    let named: BTreeSet<String> = all.iter().map(name).collect();
    assert_eq!(named, names(), "there is one of each kind");
    all
}

/// What a message is called.
pub(crate) fn name(message: &Message) -> String {
    let shown = format!("{message:?}");
    shown.split(' ').next().unwrap_or_default().to_owned()
}

/// What the kinds of messages are called, as the refusal of an unknown one tells.
fn names() -> BTreeSet<String> {
    let mut frame = b"\0\0\0\0\x92\x81\xa4None\xc0\xc0".to_vec();
    frame[0] = frame.len() as u8 - 4;
    let told = read(&frame).expect_err("there is no such kind");
    // As in: unknown variant `None`, expected one of `Welcome`, `Hello`.
    let (_, expected) = told.message().split_once("expected").expect("it says which there are");
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn parents() -> Vec<Message> {
    let lease = leased();
    vec![
        Message::Welcome {
            version: VERSION,
            secret: "0123456789abcdef".into(),
            worker: WORKER,
            job: JobId(1),
            node: NodeId(0),
            namespace: "default".into(),
            log_level: "warn".into(),
        },
        Message::Board { slot: 3, wait_ms: 10_000 },
        Message::Answer { ticket: 8, answer: Ok(Told::Directory("/tmp/mobula-0/session-1-0".into())) },
        Message::Run { call: 1, function: 0x1234_5678_9abc_def0, caller: CALLER, attempt: 1, lease },
        Message::Build {
            call: 2,
            actor: ACTOR,
            class: 0xfedc_ba98_7654_3210,
            attempt: 1,
            restarts: 3,
            retry: RETRY,
            concurrency: 4,
            is_shared: true,
            lease: leased(),
        },
        Message::Call { call: 3, method: 42, caller: CallerId::Task(WORKER, 9), attempt: 2, retry: RETRY },
        Message::Cancel { call: 3, error: None, number: 4 },
        Message::Cancel { call: 3, error: Some(error()), number: 5 },
        Message::Taken { call: 3, count: 16 },
        Message::Yielded { object: OBJECT },
        Message::Answer { ticket: 1, answer: Ok(Told::Actor(ACTOR, 17)) },
        Message::Answer {
            ticket: 2,
            answer: Ok(Told::Nodes(vec![(NodeId(0), leased().resources, ResourceSet::new())])),
        },
        Message::Answer { ticket: 3, answer: Ok(Told::Token(5)) },
        Message::Answer { ticket: 4, answer: Ok(Told::Done) },
        Message::Answer { ticket: 5, answer: Err(error()) },
        Message::Leave,
    ]
}

fn workers() -> Vec<Message> {
    vec![
        Message::Hello { version: VERSION },
        Message::Done { call: 1, error: None, is_over: true },
        Message::Done { call: 2, error: Some(error()), is_over: false },
        Message::Over { call: 2 },
        Message::Begun { call: 3 },
        Message::Rebuilt,
        Message::Ended { death: error() },
        Message::Item { call: 3 },
        Message::Submit {
            object: OBJECT,
            within: Some(1),
            function: 42,
            caller: CALLER,
            options: Some(options()),
        },
        Message::Post {
            object: OBJECT,
            within: None,
            actor: ACTOR,
            method: 42,
            caller: CallerId::Actor(ACTOR),
            retry: RETRY,
            timeout_us: Some(1_500_000),
        },
        Message::Create {
            actor: ACTOR,
            ready: OBJECT,
            ticket: Some(6),
            within: Some(1),
            class: 17,
            caller: CALLER,
            options: options(),
        },
        Message::Mark,
        Message::Stop { object: OBJECT, error: error() },
        Message::Read { object: OBJECT, count: 1 },
        Message::Fetch { object: OBJECT },
        Message::FetchReady { actor: ACTOR, object: OBJECT },
        Message::Export { object: OBJECT, is_complete: true, error: None },
        Message::HoldSelf { actor: ACTOR },
        Message::Ask { ticket: 1, question: Said::Named("counter".into(), None) },
        Message::Ask { ticket: 2, question: Said::Kill(ACTOR) },
        Message::Ask { ticket: 3, question: Said::Nodes },
        Message::Ask {
            ticket: 4,
            question: Said::Pause { call: 1, on: vec![OBJECT], needed: 1, blocks: true },
        },
        Message::Ask { ticket: 5, question: Said::Resume { call: 1, token: 5, blocks: true } },
        Message::Ask { ticket: 7, question: Said::Shutdown },
        Message::Ask { ticket: 8, question: Said::SpillDirectory },
        Message::Goodbye,
    ]
}

fn both() -> Vec<Message> {
    let extent = Extent { segment: SEGMENT, offset: 64, len: 1 << 20 };
    vec![
        Message::Segment { id: SEGMENT, size: 64 << 20 },
        Message::Forget { segments: vec![SEGMENT, SegmentId { worker: WORKER, index: 300 }] },
        Message::Relieve { bytes: 8 << 20 },
        Message::Vacated { segments: vec![SEGMENT] },
        Message::Filled { object: OBJECT, error: None },
        Message::Filled { object: OBJECT, error: Some(error()) },
        Message::Returned {
            extents: vec![(extent, 1)],
            objects: vec![(OBJECT, 2)],
            actors: vec![(ACTOR, 3)],
        },
    ]
}
