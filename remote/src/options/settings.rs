//! What all options of one attribute come to.

use super::Place;
use super::given::Given;
use crate::errors::Errors;
use proc_macro2::TokenStream;
use syn::parse::Parser;

/// Options that were read.
#[derive(Default)]
pub(crate) struct Settings {
    /// Calls of the builder, in the order written: `.num_cpus(2.0_f64)`.
    pub(crate) calls: TokenStream,
    /// How many calls may overlap; apart, because it asks something of the class.
    pub(crate) max_concurrency: Option<TokenStream>,
}

impl Settings {
    /// Whether nothing was set.
    pub(crate) fn is_plain(&self) -> bool {
        self.calls.is_empty() && self.max_concurrency.is_none()
    }
}

/// Reads the options of one attribute. What is wrong is left out of the answer and told in `errors`.
pub(crate) fn read(tokens: TokenStream, place: Place, errors: &mut Errors) -> Settings {
    let mut settings = Settings::default();
    let given = match Given::list.parse2(tokens) {
        Ok(given) => given,
        Err(error) => {
            errors.push(error);
            return settings;
        }
    };
    for (at, option) in given.iter().enumerate() {
        if given[..at].iter().any(|earlier| earlier.name == option.name) {
            errors.at(&option.name, format_args!("`{}` is given twice: keep one", option.name));
        } else if let Err(error) = option.apply(place, &mut settings) {
            errors.push(error);
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::{Place, read};
    use crate::errors::Errors;
    use crate::text::tidy;

    /// The builder calls and the mistakes of one attribute.
    fn options(place: Place, written: &str) -> (String, Vec<String>) {
        let mut errors = Errors::default();
        let settings = read(written.parse().expect("tokens"), place, &mut errors);
        (tidy(settings.calls), errors.messages())
    }

    fn calls(place: Place, written: &str) -> String {
        let (calls, mistakes) = options(place, written);
        assert_eq!(mistakes, Vec::<String>::new(), "{written}");
        calls
    }

    fn mistake(place: Place, written: &str) -> String {
        let (calls, mut mistakes) = options(place, written);
        assert_eq!((calls.as_str(), mistakes.len()), ("", 1), "{written}: {mistakes:?}");
        mistakes.remove(0)
    }

    #[test]
    fn each_option_is_a_call_of_the_builder_in_the_order_written() {
        for (written, call) in [
            ("num_cpus = 2, num_gpus = 0.5", ".num_cpus(2f64).num_gpus(0.5f64)"),
            ("num_cpus = CPUS", ".num_cpus(((CPUS)as f64))"),
            ("memory = \"1KiB\"", ".memory(1024u64)"),
            ("memory = 1_000", ".memory(1000)"),
            ("memory = 1 << 30", ".memory(1<<30)"),
            ("resources(tpu = 2, \"a:b\" = 0.5)", ".resource(\"tpu\", 2f64).resource(\"a:b\", 0.5f64)"),
            ("max_retries = 0x10", ".max_retries(16)"),
            ("retry_on_error", ".retry_on_error(true)"),
            ("retry_on_error = false", ".retry_on_error(false)"),
            ("timeout = \"1.5s\"", ".timeout(::core::time::Duration::from_millis(1500u64))"),
            ("timeout = LIMIT", ".timeout(LIMIT)"),
            ("isolation = \"process\"", ".isolation(\"process\")"),
            ("env(A = \"x\", B = VALUE,)", ".env(\"A\", \"x\").env(\"B\", VALUE)"),
            ("name = \"one\", placement = \"spread\",", ".name(\"one\").placement(\"spread\")"),
            ("", ""),
        ] {
            assert_eq!(calls(Place::Function, written), call, "{written}");
        }
    }

    #[test]
    fn flags_stand_alone_or_say_true_or_false() {
        assert_eq!(calls(Place::Class, "detached, get_if_exists = true"), ".detached().get_if_exists()");
        assert_eq!(calls(Place::Class, "detached = false"), "");
        assert!(mistake(Place::Class, "detached = 1").contains("`true` or `false`"));
        assert!(mistake(Place::Class, "detached = FLAG").contains("`true` or `false`"));
    }

    #[test]
    fn concurrency_is_kept_apart() {
        let mut errors = Errors::default();
        let settings = read("max_concurrency = 4".parse().expect("tokens"), Place::Class, &mut errors);
        assert_eq!(settings.max_concurrency.as_ref().map(tidy).as_deref(), Some("4"));
        assert!(!settings.is_plain() && settings.calls.is_empty());
        assert!(mistake(Place::Class, "max_concurrency = 0").contains("at least 1"));
    }

    #[test]
    fn what_cannot_be_says_what_can() {
        for (written, told) in [
            ("num_cpus = -1", "cannot be negative"),
            ("num_cpus = 1e999", "beyond all measure"),
            ("num_cpus = \"2\"", "takes a number, like"),
            ("num_cpus(2)", "write `num_cpus = 2`"),
            ("num_cpus", "write `num_cpus = 2`"),
            ("max_retries = -1", "for no limit write `u32::MAX`"),
            ("max_retries = 4294967296", "at most 4294967295"),
            ("max_retries = 1.5", "takes a whole number"),
            ("memory = \"much\"", "like \"2GiB\""),
            ("memory = -1", "cannot be negative"),
            ("memory = 1.5", "bytes, like"),
            ("timeout = 30", "with its unit"),
            ("timeout = \"30\"", "has no unit"),
            ("isolation = \"shared\"", "is for classes"),
            ("isolation = \"vm\"", "`\"thread\"` or `\"process\"`"),
            ("name = 1", "takes a text"),
            ("resources = 2", "write `resources(tpu = 2)`"),
            ("resources(tpu = -2)", "cannot be negative"),
            ("env(A = 1)", "takes a text"),
            (
                "num_cpu = 2",
                "there is no option `num_cpu`: did you mean `num_cpus`?\na function takes `num_cpus`, ",
            ),
            ("colour = 2", "there is no option `colour`\na function takes "),
            (
                "max_restarts = 1",
                "`max_restarts` is an option of a class, not of a function\na function takes ",
            ),
            ("max_task_retries = 1", "an option of a class or a method, not of a function"),
        ] {
            let message = mistake(Place::Function, written);
            assert!(message.contains(told), "{written}: {message}");
        }
    }

    #[test]
    fn a_mistake_costs_its_own_option_only() {
        let (calls, mistakes) =
            options(Place::Function, "num_cpus = 1, colour = 2, name = \"x\", num_cpus = 3");
        assert_eq!(calls, ".num_cpus(1f64).name(\"x\")");
        assert_eq!(mistakes.len(), 2, "{mistakes:?}");
        assert!(mistakes[1].contains("given twice"), "{mistakes:?}");
    }
}
