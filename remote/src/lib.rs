//! The attribute `#[remote]` of [mobula](https://docs.rs/mobula), which documents and re-exports it. Use
//! that crate: what is generated here names items of it.
//!
//! ```text
//! tokens ── parse ──▶ Item ── model ──▶ Function, Class, Trait, Implementation ── expand ──▶ tokens
//!                               │
//!                               └──▶ Errors
//! ```
//!
//! `parse` takes an item apart as far as its signatures, `options` reads what the attribute says, `model`
//! holds all rules about items and knows nothing of generated code, `expand` generates it and refuses
//! nothing. The user's item is part of the output in every case, unchanged but for the attributes that were
//! meant for us, so that a mistake in one signature leads to no errors elsewhere.

mod errors;
mod expand;
mod model;
mod options;
mod parse;
mod text;
mod units;

use errors::Errors;
use options::Place;
use parse::Item;
use proc_macro2::TokenStream;
use quote::quote;

/// Makes a function, a class or a trait callable from afar.
///
/// # On a function
///
/// ```
/// # use mobula::remote;
/// #[remote(num_cpus = 2)]
/// fn add(x: i64, y: i64) -> i64 { x + y }
///
/// # fn main() -> mobula::Result<()> {
/// # let _session = mobula::Config::new().num_cpus(2.0).init()?;
/// let sum = add::remote(1, 2);                        // a task: gives an `ObjectRef<i64>` at once
/// let more = add::options().num_cpus(1.0).remote(&sum, 3);
/// assert_eq!(more.get()?, 6);
/// assert_eq!(add(1, 2), 3);                           // still an ordinary function
/// # Ok(())
/// # }
/// ```
///
/// The function may be `async`. It may return a `Result`, whose error then fails the task, or an
/// `impl Iterator<Item = T>`, which makes the call a stream. Parameters that are references borrow the stored
/// object without copying it. In docs, `` [`add()`] `` links to the function and `` [`struct@add`] `` to its
/// remote form.
///
/// # On the `impl` of a class
///
/// ```
/// # use mobula::remote;
/// # struct Counter { value: i64 }
/// #[remote]
/// impl Counter {
///     pub fn new(start: i64) -> Self { Self { value: start } }
///     pub fn increment(&mut self) -> i64 { self.value += 1; self.value }
/// }
///
/// # fn main() -> mobula::Result<()> {
/// # let _session = mobula::init()?;
/// let counter = Counter::remote(5);                   // an actor: gives an `ActorHandle<Counter>` at once
/// assert_eq!(counter.increment.remote().get()?, 6);
/// # Ok(())
/// # }
/// ```
///
/// `new` is the constructor. Methods that are not private and take `&self` or `&mut self` are remote; the
/// rest of the `impl` stays ordinary. `#[remote(timeout = "5s")]` on a method gives options to its calls.
///
/// # On a trait, and on an `impl` of it
///
/// ```
/// # use mobula::{ActorHandle, remote};
/// # struct Counter { calls: u64 }
/// # #[remote]
/// # impl Counter {
/// #     pub fn new() -> Self { Self { calls: 0 } }
/// # }
/// #[remote]
/// trait Tracked {
///     fn calls(&mut self) -> u64;
/// }
///
/// #[remote]
/// impl Tracked for Counter {
///     fn calls(&mut self) -> u64 { self.calls += 1; self.calls }
/// }
///
/// # fn main() -> mobula::Result<()> {
/// # let _session = mobula::init()?;
/// let tracked: ActorHandle<dyn Tracked> = Counter::remote().into();
/// assert_eq!(tracked.calls.remote().get()?, 1);
/// # Ok(())
/// # }
/// ```
///
/// # Options
///
/// | option | function | class | method | value |
/// |---|---|---|---|---|
/// | `num_cpus`, `num_gpus` | ✓ | ✓ | | a number, like `0.5` |
/// | `memory` | ✓ | ✓ | | `"2GiB"`, or bytes |
/// | `resources` | ✓ | ✓ | | `resources(tpu = 2)` |
/// | `max_retries` | ✓ | | | a whole number |
/// | `retry_on_error` | ✓ | ✓ | ✓ | stands alone, or a `bool` |
/// | `max_restarts` | | ✓ | | a whole number |
/// | `max_task_retries` | | ✓ | ✓ | a whole number |
/// | `max_concurrency`, `max_pending_calls` | | ✓ | | a whole number |
/// | `max_calls` | ✓ | ✓ | | a whole number |
/// | `isolation` | ✓ | ✓ | | `"thread"`, `"process"`; `"shared"` for a class |
/// | `timeout` | ✓ | ✓ | ✓ | `"30s"`, or a `Duration` |
/// | `name` | ✓ | ✓ | | a text |
/// | `namespace` | | ✓ | | a text |
/// | `detached`, `get_if_exists` | | ✓ | | stands alone |
/// | `env` | ✓ | ✓ | | `env(RUST_LOG = "info")` |
/// | `working_dir` | ✓ | ✓ | | a text, a path |
/// | `placement` | ✓ | ✓ | | a text, like `"spread"` |
///
/// `env`, `working_dir` and `max_calls` take a process of their own, which `max_calls` implies; there `memory` is a limit,
/// too. An actor's process is not replaced after `max_calls`, since its state would go with it. Where Mobula is
/// built without its feature `process`, all this compiles, and fails with `Unsupported` when it is called.
///
/// Any expression of the right type may stand for a value; literals are checked at compile time.
#[proc_macro_attribute]
pub fn remote(options: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    rewrite(options.into(), item.into()).into()
}

/// The item, its remote form, and its mistakes.
fn rewrite(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let (item, generated) = match parse::item(item.clone()) {
        Ok(parsed) => expanded(options, item, &parsed, &mut errors),
        Err(error) => {
            errors.push(error);
            (item, None)
        }
    };
    let errors = errors.to_compile_errors();
    quote!(#item #generated #errors)
}

/// What stays of the item, and what is generated for it.
fn expanded(
    options: TokenStream,
    written: TokenStream,
    item: &Item,
    errors: &mut Errors,
) -> (TokenStream, Option<TokenStream>) {
    match item {
        Item::Function(function) => {
            let settings = options::read(options, Place::Function, errors);
            let function = model::Function::new(function, settings, errors);
            (written, function.map(|function| expand::function(&function)))
        }
        Item::Class(block) => {
            let settings = options::read(options, Place::Class, errors);
            let class = model::Class::new(block, settings, errors);
            (quote!(#block), class.map(|class| expand::class(&class)))
        }
        Item::Trait(block) => {
            let remote_trait = model::Trait::new(block, &options, errors);
            (quote!(#block), remote_trait.map(|remote_trait| expand::remote_trait(&remote_trait)))
        }
        Item::Implementation(block) => {
            let implementation = model::Implementation::new(block, &options, errors);
            (quote!(#block), implementation.map(|implementation| expand::implementation(&implementation)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rewrite;
    use crate::text::tidy;
    use proc_macro2::TokenStream;
    use quote::quote;

    /// The output for an item, and the messages in it.
    fn rewritten(options: TokenStream, item: TokenStream) -> (String, usize) {
        let output = tidy(rewrite(options, item));
        let mistakes = output.matches("compile_error!").count();
        (output, mistakes)
    }

    #[test]
    fn a_wrong_item_stays_and_nothing_is_generated() {
        for item in [
            quote!(
                pub fn first<T>(x: &mut T) -> &T {
                    x
                }
            ),
            quote!(
                pub struct Counter {
                    value: i64,
                }
            ),
            quote!(
                fn without_body();
            ),
            quote!(impl Counter { pub fn increment(self) {} }),
            quote!(
                trait Tracked {
                    async fn calls(&self);
                    const X: u8;
                }
            ),
            quote!(
                impl<T> Tracked for Holder<T> {}
            ),
        ] {
            let (output, mistakes) = rewritten(quote!(), item.clone());
            assert!(mistakes > 0, "{output}");
            let (kept, told) = output.split_at(output.find("::core::compile_error").expect("a mistake"));
            assert_eq!(kept, tidy(item));
            assert!(!told.contains("__private"), "{told}");
        }
    }

    #[test]
    fn a_wrong_option_leaves_the_rest_to_be_generated() {
        let (output, mistakes) = rewritten(
            quote!(colour = 1, num_cpus = 2),
            quote!(
                fn add(x: i64) -> i64 {
                    x
                }
            ),
        );
        assert_eq!(mistakes, 1);
        assert!(output.starts_with("fn add(x:i64) -> i64{x}"), "{output}");
        assert!(output.contains("struct add{}") && output.contains(".num_cpus(2f64)"), "{output}");
    }

    #[test]
    fn attributes_for_us_do_not_stay_in_the_item() {
        let item = quote! {
            impl Counter {
                pub fn new() -> Self { Self }
                #[remote(timeout = "1s")]
                #[inline]
                pub fn get(&self) {}
                #[mobula::remote(timeout = "1s")]
                fn private(&self) {}
            }
        };
        let (output, mistakes) = rewritten(quote!(), item);
        assert_eq!(mistakes, 1);
        let item = "impl Counter{pub fn new() -> Self{Self}#[inline]pub fn get(&self){}fn private(&self){}}";
        assert!(output.starts_with(item), "{output}");
    }

    #[test]
    fn bodies_are_not_read() {
        let (output, mistakes) = rewritten(quote!(), quote!(fn half_typed() { let x = self. ; => }));
        assert_eq!(mistakes, 0, "{output}");
        assert!(output.contains("struct half_typed{}"), "{output}");
    }

    #[test]
    fn every_mistake_of_an_item_is_told() {
        let item = quote! {
            impl Counter {
                pub async fn new() -> Self { Self }
                pub fn remote(self) {}
                pub fn first<T>(&self, x: impl Copy) -> &str {}
            }
        };
        let (_, mistakes) = rewritten(quote!(num_cpus = -1), item);
        assert_eq!(mistakes, 7);
    }
}
