//! Items inside of function bodies, two of one name.
#![deny(warnings)]

use mobula::prelude::*;

fn first() -> ObjectRef<u8> {
    #[remote]
    fn work(x: u8) -> u8 {
        x
    }

    struct Class(u8);

    #[remote]
    impl Class {
        fn new(x: u8) -> Self {
            Self(x)
        }

        pub(crate) fn get(&self) -> u8 {
            self.0
        }
    }

    let work = work::remote(1);
    Class::remote(work).get.remote()
}

fn second() -> ObjectRef<String> {
    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    struct Local(String);

    #[remote]
    fn work(x: Local) -> String {
        x.0
    }

    #[remote]
    trait Class {
        fn get(&self, x: Local) -> Local;
    }

    fn ask(class: ActorHandle<dyn Class>) -> ObjectRef<Local> {
        class.get.remote(Local(String::new()))
    }

    let _ = ask;
    work::remote(Local("x".to_owned()))
}

fn main() {
    first();
    second();
}
