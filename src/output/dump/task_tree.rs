//! Tasks below those that wait for them, equal ones folded.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher};

use super::tasks::TaskDump;

/// A task and those like it, with what is below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TaskNode {
    /// The tasks, by their places; alike in all that is shown, with alike ones below.
    pub(super) tasks: Vec<usize>,
    /// They are there for being in the group of the task above, which does not wait for them yet.
    pub(super) is_group: bool,
    /// What is below the first of them.
    pub(super) children: Vec<TaskNode>,
    /// Tasks that one of them waits for too and that are shown elsewhere.
    pub(super) elsewhere: Vec<usize>,
}

/// Deeper than this nothing is nested further.
const DEEPEST: usize = 40;
/// So far up is looked whether a task is below itself; one that is further down is shown at the top.
const MOST_STEPS: usize = 1000;

/// The tasks at `places` as trees: under each those that it waits for or has in its group, each task once.
pub(super) fn tree(tasks: &[TaskDump], places: &[usize]) -> Vec<TaskNode> {
    let parents = parents(tasks, places);
    let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut roots = Vec::new();
    for place in places {
        match parents.get(place) {
            Some(parent) => children.entry(*parent).or_default().push(*place),
            None => roots.push(*place),
        }
    }
    let builder = Builder { tasks, parents: &parents, children: &children, is_flat: false };
    builder.fold(&roots, 0)
}

/// The tasks at `places` without anything below them.
pub(super) fn flat(tasks: &[TaskDump], places: &[usize]) -> Vec<TaskNode> {
    let (parents, children) = (HashMap::new(), HashMap::new());
    Builder { tasks, parents: &parents, children: &children, is_flat: true }.fold(places, 0)
}

/// For each task the one that it is shown under: the first that waits for it, else the one whose group it is in. What
/// would close a ring has none.
fn parents(tasks: &[TaskDump], places: &[usize]) -> HashMap<usize, usize> {
    let known: HashSet<usize> = places.iter().copied().collect();
    let mut parents = HashMap::new();
    for place in places {
        let links = &tasks[*place].places;
        let candidates = links.awaited_by.iter().chain(&links.group_of);
        let parent = candidates.copied().find(|parent| {
            // Up from there to the top, which must not come by here.
            let mut above = Some(*parent);
            let mut steps = 0;
            while let Some(task) = above {
                if task == *place || steps > MOST_STEPS {
                    return false;
                }
                steps += 1;
                above = parents.get(&task).copied();
            }
            known.contains(parent)
        });
        if let Some(parent) = parent {
            parents.insert(*place, parent);
        }
    }
    parents
}

struct Builder<'dump> {
    tasks: &'dump [TaskDump],
    parents: &'dump HashMap<usize, usize>,
    children: &'dump HashMap<usize, Vec<usize>>,
    /// Nothing is shown of what a task waits for.
    is_flat: bool,
}

impl Builder<'_> {
    /// Siblings, equal ones folded into the first.
    fn fold(&self, places: &[usize], depth: usize) -> Vec<TaskNode> {
        let mut nodes: Vec<TaskNode> = Vec::new();
        let mut known: HashMap<u64, usize> = HashMap::new();
        for place in places {
            let signature = self.signature(*place, depth);
            if let Some(node) = known.get(&signature) {
                let node = &mut nodes[*node];
                node.tasks.push(*place);
                if !self.is_flat {
                    node.elsewhere.extend(self.elsewhere(*place));
                }
                continue;
            }
            known.insert(signature, nodes.len());
            let below = self.children.get(place).filter(|_| depth < DEEPEST);
            nodes.push(TaskNode {
                tasks: vec![*place],
                is_group: self.is_group_only(*place),
                children: below.map(|below| self.fold(below, depth + 1)).unwrap_or_default(),
                elsewhere: if self.is_flat { vec![] } else { self.elsewhere(*place).collect() },
            });
        }
        for node in &mut nodes {
            node.elsewhere.sort_unstable();
            node.elsewhere.dedup();
        }
        nodes
    }

    /// What a task waits for that is not shown below it.
    fn elsewhere(&self, place: usize) -> impl Iterator<Item = usize> {
        let awaits = &self.tasks[place].places.awaits;
        awaits.iter().copied().filter(move |awaited| self.parents.get(awaited) != Some(&place))
    }

    /// Whether a task is shown below another for being in its group alone.
    fn is_group_only(&self, place: usize) -> bool {
        let parent = self.parents.get(&place);
        parent.is_some_and(|parent| !self.tasks[place].places.awaited_by.contains(parent))
    }

    /// Equal for tasks that look alike.
    fn signature(&self, place: usize, depth: usize) -> u64 {
        let task = &self.tasks[place];
        let mut hasher = BuildHasherDefault::<DefaultHasher>::default().build_hasher();
        (task.state, &task.coroutine, task.name.is_some()).hash(&mut hasher);
        for frame in &task.frames {
            (&frame.name, &frame.filename, frame.line).hash(&mut hasher);
        }
        if let Some(waits) = &task.waits {
            (waits.kind, waits.object.filter(|_| waits.is_shared), waits.thread_id.is_some()).hash(&mut hasher);
        }
        task.places.held_by.hash(&mut hasher);
        // One that others refer to must not be lost among those that nobody else waits for, nor one that is only in the
        // group of the task above among those that this waits for.
        (task.places.awaited_by.len().min(2), self.is_group_only(place)).hash(&mut hasher);
        if !self.is_flat {
            self.elsewhere(place).count().hash(&mut hasher);
        }
        if depth < DEEPEST {
            let below = self.children.get(&place).into_iter().flatten();
            let mut below: Vec<u64> = below.map(|child| self.signature(*child, depth + 1)).collect();
            below.sort_unstable();
            below.dedup();
            below.hash(&mut hasher);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::dump::FrameDump;
    use crate::output::dump::tasks::TaskPlaces;

    fn task(function: &str, awaits: &[usize], awaited_by: &[usize]) -> TaskDump {
        TaskDump {
            name: Some("name".to_owned()),
            frames: vec![FrameDump { name: function.to_owned(), ..FrameDump::default() }],
            places: TaskPlaces { awaits: awaits.to_vec(), awaited_by: awaited_by.to_vec(), ..TaskPlaces::default() },
            ..TaskDump::default()
        }
    }

    fn shape(nodes: &[TaskNode]) -> String {
        let text = |node: &TaskNode| {
            let elsewhere: Vec<String> = node.elsewhere.iter().map(|task| format!("→{task}")).collect();
            format!("{:?}{}({})", node.tasks, elsewhere.concat(), shape(&node.children))
        };
        nodes.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn equal_tasks_are_folded_and_each_is_shown_once() {
        // 0 waits for 1 to 4, of which 4 differs; 5 waits for 4 too.
        let mut tasks = vec![task("main", &[1, 2, 3, 4], &[])];
        tasks.extend((0..3).map(|_| task("handler", &[], &[0])));
        tasks.push(task("other", &[], &[0, 5]));
        tasks.push(task("second", &[4], &[]));
        let all: Vec<usize> = (0..tasks.len()).collect();
        assert_eq!(shape(&tree(&tasks, &all)), "[0]([1, 2, 3]() [4]()) [5]→4()");
        assert_eq!(shape(&flat(&tasks, &all)), "[0]() [1, 2, 3]() [4]() [5]()");
    }

    #[test]
    fn the_group_alone_is_no_wait_and_who_is_referred_to_stands_alone() {
        // 0 gathers 1 and 2 while 3 is in its group.
        let mut tasks = vec![task("main", &[1, 2], &[]), task("leaf", &[], &[0]), task("leaf", &[], &[0])];
        tasks.push(TaskDump {
            places: TaskPlaces { group_of: Some(0), ..TaskPlaces::default() },
            ..task("leaf", &[], &[])
        });
        let nodes = tree(&tasks, &[0, 1, 2, 3]);
        assert_eq!(shape(&nodes), "[0]([1, 2]() [3]())");
        assert_eq!(nodes[0].children.iter().map(|node| node.is_group).collect::<Vec<_>>(), [false, true]);

        // 0 and 1 gather a task of their own each, and both 4; 5 and 6 wait for one each of those.
        let tasks = [
            task("gathers", &[2, 4], &[]),
            task("gathers", &[3, 4], &[]),
            task("leaf", &[], &[0, 5]),
            task("leaf", &[], &[1, 6]),
            task("leaf", &[], &[0, 1]),
            task("awaits", &[2], &[]),
            task("awaits", &[3], &[]),
        ];
        assert_eq!(shape(&tree(&tasks, &[0, 1, 2, 3, 4, 5, 6])), "[0]([2, 4]()) [1]→4([3]()) [5, 6]→2→3()");
        // With one of its own that nobody else waits for.
        let tasks = [task("gathers", &[1, 2], &[]), task("leaf", &[], &[0]), task("leaf", &[], &[0, 3])];
        let tasks = [&tasks[..], &[task("awaits", &[2], &[])]].concat();
        assert_eq!(shape(&tree(&tasks, &[0, 1, 2, 3])), "[0]([1]() [2]()) [3]→2()");
    }

    #[test]
    fn what_is_below_makes_a_difference() {
        let tasks = [
            task("handler", &[2], &[]),
            task("handler", &[3], &[]),
            task("child", &[], &[0]),
            task("child", &[], &[1]),
            task("handler", &[], &[]),
        ];
        assert_eq!(shape(&tree(&tasks, &[0, 1, 2, 3, 4])), "[0, 1]([2]()) [4]()");
    }

    #[test]
    fn a_ring_is_shown_from_one_of_its_tasks_on() {
        let tasks = [task("a", &[1], &[1]), task("b", &[0], &[0]), task("self", &[2], &[2])];
        assert_eq!(shape(&tree(&tasks, &[0, 1, 2])), "[1]([0]→1()) [2]→2()");
    }

    #[test]
    fn a_long_chain_ends_somewhere() {
        let tasks: Vec<TaskDump> = (0..2000)
            .map(|index: usize| task("link", &[index + 1], &index.checked_sub(1).map_or(vec![], |above| vec![above])))
            .collect();
        let all: Vec<usize> = (0..tasks.len()).collect();
        let mut nodes = tree(&tasks, &all);
        let mut depth = 0;
        while let Some(node) = nodes.pop() {
            depth += 1;
            nodes = node.children;
        }
        assert_eq!(depth, DEEPEST + 1);
    }
}
