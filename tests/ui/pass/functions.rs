//! Functions of every kind, in a crate that allows nothing.
#![forbid(unsafe_code)]
#![deny(
    warnings,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    rust_2018_idioms,
    nonstandard_style
)]

use mobula::prelude::*;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A value of our own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Matrix(Vec<f64>);

/// An error that is shown and nothing else.
#[derive(Debug)]
pub struct Wrong;

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrong")
    }
}

/// Adds.
#[remote]
pub fn add(x: i64, y: i64) -> i64 {
    x + y
}

/// Every way to pass an argument.
#[remote]
pub fn every_way(
    x: i64,
    ys: &[f64],
    name: &str,
    big: &Matrix,
    r: ObjectRef<u8>,
    mut last: (u8, [u8; 4]),
) -> Result<i64, Wrong> {
    last.0 += 1;
    let _ = (r, last);
    i64::try_from(ys.len() + name.len() + big.0.len()).map(|n| n + x).map_err(|_| Wrong)
}

#[remote]
fn nothing() {}

#[remote]
fn never_called_from_afar(_unused: u8) {}

/// Waits.
#[remote]
pub async fn wait(name: &str, ys: &[u8]) -> Result<String, std::io::Error> {
    std::future::ready(()).await;
    Ok(format!("{name}{}", ys.len()))
}

#[remote]
async fn wait_for_nothing() {}

/// Counts.
#[remote]
pub fn count(to: u32) -> impl Iterator<Item = u32> {
    0..to
}

#[remote]
fn borrowed_stream(of: &[u32]) -> impl Iterator<Item = u32> + '_ {
    of.iter().copied()
}

/// A type with the name of something that is generated.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Options(u8);

/// Names that also appear in generated code.
#[remote]
pub fn args(this: Options, args: u8, output: u8, sink: u8, items: u8, link: u8, a0: u8) -> Options {
    Options(this.0 + args + output + sink + items + link + a0)
}

#[remote]
fn r#match(r#type: u8) -> u8 {
    r#type
}

mod inner {
    use mobula::remote;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Serialize, Deserialize)]
    pub(crate) struct Private(u8);

    pub(crate) fn private() -> Private {
        Private(1)
    }

    #[remote]
    pub(crate) const fn of_private(x: Private) -> Private {
        x
    }

    #[remote]
    pub(super) fn for_super() {}
}

#[deprecated]
#[remote]
fn old() {}

#[allow(deprecated)]
fn main() {
    let add = add::remote(1, 2);
    let _: ObjectRef<i64> = add::remote(&add, 3);
    let _: Vec<_> = (0..4).map(|x| add::remote(x, x)).collect();
    let _: Vec<ObjectRef<u32>> = (0..4).map(square::remote).collect();
    let _ = crate::add(1, 2);
    let matrix = Matrix(vec![1.0]);
    let byte = text::remote("x");
    let _: ObjectRef<i64> = every_way::remote(1, vec![1.0], "x", &matrix, &byte_ref::remote(), (1, [0; 4]));
    let _ = byte;
    nothing::remote();
    let _: ObjectRef<String> = wait::remote("x", vec![1]);
    wait_for_nothing::remote();
    let _: ObjectStream<u32> = count::remote(3);
    let _: ObjectStream<u32> = borrowed_stream::remote(vec![3]);
    let _: ObjectRef<Options> = args::remote(Options(1), 2, 3, 4, 5, 6, 7);
    let _: ObjectRef<u8> = r#match::remote(1);
    let _: ObjectRef<inner::Private> = inner::of_private::remote(inner::private());
    inner::for_super::remote();
    old::remote();
    add::options().num_cpus(2.0).timeout(std::time::Duration::from_secs(1)).remote(1, 2);
}

#[remote]
fn square(x: u32) -> u32 {
    x * x
}

#[remote]
fn text(x: &str) -> String {
    x.to_owned()
}

#[remote]
fn byte_ref() -> ObjectRef<u8> {
    unreachable!()
}
