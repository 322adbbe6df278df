//! Items that other macros write.
#![deny(warnings)]

use mobula::prelude::*;

macro_rules! function {
    ($name:ident, $ty:ty, $output:ty) => {
        #[remote]
        fn $name(x: $ty, y: &[$ty], z: &$crate::Local) -> $output {
            let _ = (y, z);
            x.into()
        }
    };
}

macro_rules! class {
    ($name:ident { $($method:ident: $ty:ty),* }) => {
        struct $name;

        #[remote]
        impl $name {
            fn new(x: u8) -> Self {
                let _ = x;
                Self
            }

            $(
                pub fn $method(&self, x: &$ty) -> Result<$ty, String> {
                    Ok(x.clone())
                }
            )*
        }
    };
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Local;

function!(small, u8, u64);
function!(text, String, Box<str>);
class!(Class { byte: u8, list: Vec<u8> });

fn main() {
    let _: ObjectRef<u64> = small::remote(1, vec![1], &Local);
    let _: ObjectRef<Box<str>> = text::remote("x", vec![], &Local);
    let class = Class::remote(1);
    let _: ObjectRef<u8> = class.byte.remote(1);
    let _: ObjectRef<Vec<u8>> = class.list.remote(vec![1]);
}
