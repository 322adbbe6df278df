//! What `#[remote]` wrote down about a function, a class or a method.

/// A function, constructor or method as its author wrote it.
#[derive(Debug)]
pub struct Definition {
    /// The full path, with the functions that enclose it.
    pub path: fn() -> &'static str,
    /// The name: `add`, `Counter` or `Counter.increment`.
    pub name: &'static str,
    /// The source file.
    pub file: &'static str,
    /// The line of the name, from 1.
    pub line: u32,
    /// The column of the name, from 1.
    pub column: u32,
    /// A hash of the name, the parameters' types and the output.
    pub signature: u64,
    /// The doc comment.
    pub docs: &'static str,
    /// The parameters, without `self`.
    pub params: &'static [Parameter],
    /// The output as written.
    pub output: &'static str,
    /// Whether it is an `async fn`.
    pub is_async: bool,
    /// Whether it yields a stream.
    pub is_stream: bool,
    /// Whether it takes `self`.
    pub has_receiver: bool,
}

impl Definition {
    /// The definition of what the runtime makes itself, such as `put`.
    pub const fn internal(name: &'static str) -> Self {
        Self {
            path: || "mobula",
            name,
            file: "",
            line: 0,
            column: 0,
            signature: 0,
            docs: "",
            params: &[],
            output: "",
            is_async: false,
            is_stream: false,
            has_receiver: false,
        }
    }

    /// The identity as one number, the same in every process of one executable: FNV-1a, 64 bits.
    pub fn key(&self) -> u64 {
        const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let (path, line, column, signature) = self.identity();
        let numbers = [u64::from(line), u64::from(column), signature];
        let name = path.bytes().chain(self.name.bytes());
        let bytes = name.chain(numbers.into_iter().flat_map(u64::to_le_bytes));
        bytes.fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
    }

    /// What tells functions apart: path, line, column and signature.
    pub fn identity(&self) -> (&'static str, u32, u32, u64) {
        ((self.path)(), self.line, self.column, self.signature)
    }
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its type as written.
    pub ty: &'static str,
}

/// A class: its constructor and its remote methods.
#[derive(Debug)]
pub struct ClassDefinition {
    /// `new`, under the name of the class.
    pub constructor: Definition,
    /// The remote methods of the class's own impl.
    pub methods: &'static [&'static Definition],
    /// Whether it has an `async fn`.
    pub is_async: bool,
}
