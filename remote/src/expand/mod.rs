//! Generated code.
//!
//! Everything but `struct add {}` stands in a `const _: () = { .. };`, which hides its names from the
//! user's module. Inside it `__m` is the library. Names that stand beside the user's types there begin with
//! two underscores, so that a user's own `Options` or `Methods` keeps its meaning.
//!
//! What is called and what is named are two types: the user sees `add`, `Counter` and the methods' own
//! types, while the library's traits `Function`, `Construct` and `Method` are implemented by private types
//! beside them. An implementation for a public type must not mention private ones, and a signature may (a
//! public function in a private module whose parameter is `pub(crate)`).

mod call;
mod class;
mod function;
mod method;
mod remote_trait;
mod scope;

pub(crate) use class::class;
pub(crate) use function::function;
pub(crate) use remote_trait::{implementation, remote_trait};
