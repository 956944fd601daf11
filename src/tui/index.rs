//! What the views need to know of a profile's stacks, worked out once for each stack: functions, and the tree of calls
//! by function.
//!
//! Limits: grows with the profile, which is condensed when it is too large.

use std::collections::HashMap;

use crate::profile::{Frame, FrameKind, Profile, TextId};

/// The number of a [`Function`].
pub(crate) type FunctionId = u32;
/// The number of a [`Node`]; 0 is the root, which has no function.
pub(crate) type NodeId = u32;

/// The root of the tree of calls.
pub(crate) const ROOT: NodeId = 0;

/// A function: all frames of one name that begin in the same line of the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Function {
    /// What it is.
    pub kind: FrameKind,
    /// Its name.
    pub name: TextId,
    /// Its file, in full.
    pub file: TextId,
    /// Its file from the package on.
    pub short_file: TextId,
    /// Its first line; 0 when not known.
    pub first_line: u32,
}

/// A function called by a certain chain of functions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    /// The caller.
    pub parent: NodeId,
    /// The function; meaningless at the root.
    pub function: FunctionId,
    /// No caller is the same function: what is below counts for the function's total once.
    pub outermost: bool,
    /// How many callers there are; the root has none.
    pub depth: u32,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Index {
    functions: Vec<Function>,
    function_ids: HashMap<Function, FunctionId>,
    /// The function of each frame.
    frame_functions: Vec<FunctionId>,
    nodes: Vec<Node>,
    node_ids: HashMap<(NodeId, FunctionId), NodeId>,
    stacks: Vec<Stack>,
}

/// A stack of the profile, as (caller's stack, frame), both by number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stack {
    /// The caller's stack.
    pub parent: u32,
    /// The innermost frame.
    pub frame: u32,
    /// Its place in the tree of calls.
    pub node: NodeId,
    /// No caller is the same frame.
    pub outermost: bool,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            functions: Vec::new(),
            function_ids: HashMap::new(),
            frame_functions: Vec::new(),
            nodes: vec![Node { parent: ROOT, function: 0, outermost: false, depth: 0 }],
            node_ids: HashMap::new(),
            stacks: vec![Stack { parent: 0, frame: 0, node: ROOT, outermost: false }],
        }
    }
}

impl Index {
    /// Takes in what the profile has grown by since the last call.
    pub(crate) fn extend(&mut self, profile: &Profile) {
        for frame in profile.frames_from(self.frame_functions.len()) {
            let function = self.function_of(&frame);
            self.frame_functions.push(function);
        }
        for (parent, frame) in profile.stacks_from(self.stacks.len()) {
            let (parent, frame) = (parent.number(), frame.number());
            let caller = self.stack(parent).node;
            let function = self.frame_functions.get(frame as usize).copied().unwrap_or_default();
            let node = self.node_below(caller, function);
            let outermost = !self.frame_is_in(parent, frame);
            self.stacks.push(Stack { parent, frame, node, outermost });
        }
    }

    fn function_of(&mut self, frame: &Frame) -> FunctionId {
        let Frame { kind, name, file, short_file, first_line, .. } = *frame;
        let function = Function { kind, name, file, short_file, first_line };
        *self.function_ids.entry(function).or_insert_with(|| {
            self.functions.push(function);
            number(self.functions.len() - 1)
        })
    }

    fn node_below(&mut self, parent: NodeId, function: FunctionId) -> NodeId {
        if let Some(node) = self.node_ids.get(&(parent, function)) {
            return *node;
        }
        let mut at = parent;
        let mut outermost = true;
        while at != ROOT {
            let caller = self.node(at);
            if caller.function == function {
                outermost = false;
                break;
            }
            at = caller.parent;
        }
        let depth = self.node(parent).depth + 1;
        self.nodes.push(Node { parent, function, outermost, depth });
        let id = number(self.nodes.len() - 1);
        self.node_ids.insert((parent, function), id);
        id
    }

    fn frame_is_in(&self, stack: u32, frame: u32) -> bool {
        let mut at = stack;
        while at != 0 {
            let caller = self.stack(at);
            if caller.frame == frame {
                return true;
            }
            at = caller.parent;
        }
        false
    }

    /// A function.
    pub(crate) fn function(&self, id: FunctionId) -> Option<&Function> {
        self.functions.get(id as usize)
    }

    /// The number of a function, if it is known.
    pub(crate) fn id_of(&self, function: &Function) -> Option<FunctionId> {
        self.function_ids.get(function).copied()
    }

    /// The place of a function below a place in the tree of calls, if it was seen there.
    pub(crate) fn child(&self, caller: NodeId, function: FunctionId) -> Option<NodeId> {
        self.node_ids.get(&(caller, function)).copied()
    }

    /// How many functions there are.
    pub(crate) fn function_count(&self) -> usize {
        self.functions.len()
    }

    /// The function of a frame.
    pub(crate) fn frame_function(&self, frame: u32) -> FunctionId {
        self.frame_functions.get(frame as usize).copied().unwrap_or_default()
    }

    /// A place in the tree of calls; the root for what there is not.
    pub(crate) fn node(&self, id: NodeId) -> Node {
        self.nodes.get(id as usize).copied().unwrap_or(self.nodes[0])
    }

    /// How many places there are in the tree of calls, the root counted.
    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// A stack; the empty one for what there is not.
    pub(crate) fn stack(&self, number: u32) -> Stack {
        self.stacks.get(number as usize).copied().unwrap_or(self.stacks[0])
    }

    /// How many stacks there are, the empty one counted.
    pub(crate) fn stack_count(&self) -> usize {
        self.stacks.len()
    }
}

fn number(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
