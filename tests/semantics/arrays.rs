//! Arrays and buffers: what is passed is read where it lies.

use std::collections::BTreeMap;

use mobula::prelude::*;
use mobula::{Array, Buffer, put, testing};

use crate::common::Env;

pub(crate) fn a_slice_parameter_takes_a_ref_of_an_array(env: &Env) {
    #[remote]
    fn total(numbers: &[f64]) -> f64 {
        numbers.iter().sum()
    }
    #[remote]
    fn place(numbers: &[f64]) -> usize {
        numbers.as_ptr().addr()
    }
    #[remote]
    fn count(bytes: &[u8]) -> usize {
        bytes.len()
    }
    let _running = env.start();
    let array = put(Array::from_vec(vec![1.0, 2.0, 4.0])).expect("it is stored");
    assert!((total::remote(&array).get().expect("three") - 7.0).abs() < f64::EPSILON);
    let there = array.view().expect("it is stored").as_ptr().addr();
    assert_eq!(place::remote(&array).get().expect("three"), there);
    let buffer = put(Buffer::from(vec![1, 2, 3])).expect("it is stored");
    assert_eq!(count::remote(&buffer).get().expect("three"), 3);
}

pub(crate) fn an_array_is_built_by_a_task_and_read_by_others(env: &Env) {
    #[remote]
    fn ramp(rows: usize) -> mobula::Result<Array<i64>> {
        Array::build([rows, 1_000], |all| all.iter_mut().zip(0..).for_each(|(x, n)| *x = n))
    }
    #[remote]
    fn last(array: &Array<i64>) -> (Vec<usize>, Option<i64>) {
        (array.shape().to_vec(), array.last().copied())
    }
    let _running = env.start();
    let array = ramp::remote(100);
    assert_eq!(last::remote(&array).get().expect("it was built"), (vec![100, 1_000], Some(99_999)));
    assert_eq!(array.get().expect("it was built")[1_234], 1_234);
}

pub(crate) fn inside_of_a_larger_value_they_come_back_from_bytes_without_a_copy(env: &Env) {
    let _running = env.start();
    let array = Array::build([100_000], |all| all.fill(7_i64)).expect("there is room");
    let value = BTreeMap::from([("a".to_owned(), (array.clone(), Buffer::from(vec![1, 2, 3])))]);
    let read = testing::by_way_of_bytes(&value).expect("it can travel");
    assert_eq!(read, value);
    assert_eq!(read["a"].0.as_ptr(), array.as_ptr());
}
