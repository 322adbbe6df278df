//! Tells the program where the Python that it was built with keeps its library.

fn main() {
    pyo3_build_config::add_libpython_rpath_link_args();
}
