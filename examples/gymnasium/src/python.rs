//! The actor that keeps an environment of Python's.

use mobula::prelude::*;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyBytes};

use crate::envs::{Observation, Step};

/// An environment of the real Gymnasium. Its calls take turns with all other Python in this process.
pub(crate) struct PyEnvironment {
    env: Py<PyAny>,
    /// Of what was observed last.
    shape: Vec<usize>,
}

#[remote]
impl PyEnvironment {
    /// `gymnasium.make(name)`, and an episode starts.
    pub(crate) fn new(name: &str) -> Result<Self, PyErr> {
        Python::attach(|py| {
            let gymnasium = py.import("gymnasium")?;
            if name.starts_with("ALE/") {
                gymnasium.call_method1("register_envs", (py.import("ale_py")?,))?;
            }
            let env = gymnasium.call_method1("make", (name,))?.unbind();
            let mut environment = Self { env, shape: Vec::new() };
            environment.reset(None)?;
            Ok(environment)
        })
    }

    /// Starts the episode of a seed, or the next one.
    pub(crate) fn reset(&mut self, seed: Option<u64>) -> Result<Observation, PyErr> {
        Python::attach(|py| {
            let seed = [("seed", seed)].into_py_dict(py)?;
            let (seen, _info): (Bound<PyAny>, Bound<PyAny>) =
                self.env.bind(py).call_method("reset", (), Some(&seed))?.extract()?;
            self.observe(&seen)
        })
    }

    /// Takes an action.
    pub(crate) fn step(&mut self, action: usize) -> Result<Step, PyErr> {
        Python::attach(|py| {
            let (seen, reward, terminated, truncated, _info): (Bound<PyAny>, _, _, _, Bound<PyAny>) =
                self.env.bind(py).call_method1("step", (action,))?.extract()?;
            Ok(Step { observation: self.observe(&seen)?, reward, terminated, truncated })
        })
    }

    /// How many actions there are.
    pub(crate) fn actions(&self) -> Result<usize, PyErr> {
        Python::attach(|py| self.env.bind(py).getattr("action_space")?.getattr("n")?.extract())
    }

    /// How many numbers in each dimension were observed last.
    pub(crate) fn shape(&self) -> Vec<usize> {
        self.shape.clone()
    }

    fn observe(&mut self, seen: &Bound<PyAny>) -> Result<Observation, PyErr> {
        self.shape = seen.getattr("shape")?.extract()?;
        let bytes = seen.call_method1("astype", ("float32",))?.call_method0("tobytes")?;
        let (numbers, _) = bytes.cast::<PyBytes>()?.as_bytes().as_chunks();
        Ok(numbers.iter().copied().map(f32::from_ne_bytes).collect())
    }
}

/// Ctrl-C ends the program. Python would leave it to its main thread, which may be anywhere.
pub(crate) fn leave_interrupts_alone() -> PyResult<()> {
    Python::attach(|py| {
        let signal = py.import("signal")?;
        signal.call_method1("signal", (signal.getattr("SIGINT")?, signal.getattr("SIG_DFL")?))?;
        Ok(())
    })
}
