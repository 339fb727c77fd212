//! The Rust side of node.cpp.
#![allow(unsafe_code)] // calls from and into C++

use super::Function;
use crate::{LossError, Result};
use std::{
    any::Any,
    ffi::{CStr, CString, c_char, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr, slice,
};
use tch::{TchError, Tensor};
use torch_sys::C_tensor;

/// `torch::autograd::variable_list`
#[repr(C)]
struct CList {
    _opaque: [u8; 0],
}

/// `torch::autograd::AutogradContext`
#[repr(C)]
struct CContext {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn tch_losses_apply(
        function: *mut c_void,
        inputs: *const *const C_tensor,
        count: usize,
        outputs: *mut CList,
    ) -> *mut c_char;
    fn tch_losses_list_new() -> *mut CList;
    fn tch_losses_list_free(list: *mut CList);
    fn tch_losses_list_length(list: *const CList) -> usize;
    fn tch_losses_list_get(list: *const CList, index: usize) -> *mut C_tensor;
    fn tch_losses_list_push(list: *mut CList, tensor: *const C_tensor);
    fn tch_losses_save(context: *mut CContext, tensors: *const CList) -> *mut c_char;
    fn tch_losses_saved(context: *const CContext, tensors: *mut CList) -> *mut c_char;
    fn tch_losses_grad(
        outputs: *const CList,
        inputs: *const CList,
        weights: *const CList,
        keep_graph: bool,
        create_graph: bool,
        gradients: *mut CList,
    ) -> *mut c_char;
    fn tch_losses_needs_gradient(context: *const CContext, input: usize) -> bool;
    fn tch_losses_keeps_graph() -> bool;
    fn tch_losses_gradient_mode() -> bool;
    fn tch_losses_free_text(text: *mut c_char);
}

/// Whether this build has custom autograd functions. It has not where there were no headers of libtorch (`doc-only`, Windows).
pub fn is_available() -> bool {
    true
}

/// What a [`Function`] can ask and keep while it runs.
pub struct Context {
    raw: *mut CContext,
    /// Which inputs need a gradient, while running forward.
    forward: Option<Vec<bool>>,
}

impl Context {
    /// Keeps inputs or outputs for [`Function::backward`]. At most once, in [`Function::forward`].
    pub fn save_for_backward(&mut self, tensors: &[&Tensor]) -> Result<()> {
        let list = List::of(tensors);
        // SAFETY: `raw` lives as long as this call of the function; the list is read only.
        done(unsafe { tch_losses_save(self.raw, list.0) })
    }

    /// What was kept, as part of the graph.
    ///
    /// # Errors
    ///
    /// Where one was changed in place since, or the graph was freed by an earlier backward.
    pub fn saved(&self) -> Result<Vec<Tensor>> {
        let list = List::new();
        // SAFETY: as above; the list is ours to fill.
        done(unsafe { tch_losses_saved(self.raw, list.0) })?;
        Ok(list.tensors().into_iter().flatten().collect())
    }

    /// Whether a gradient of an input will be asked for; in [`Function::backward`] whether it is now.
    pub fn needs_gradient(&self, input: usize) -> bool {
        match &self.forward {
            Some(needed) => needed[input],
            // SAFETY: `raw` belongs to the node that runs.
            None => unsafe { tch_losses_needs_gradient(self.raw, input) },
        }
    }

    /// Whether a graph of the gradient is asked for; in [`Function::backward`].
    pub fn creates_graph(&self) -> bool {
        self.forward.is_none() && is_recording()
    }

    /// Whether the graph is kept for another backward; in [`Function::backward`].
    pub fn keeps_graph(&self) -> bool {
        // SAFETY: reads a variable of this thread's backward.
        self.forward.is_none() && unsafe { tch_losses_keeps_graph() }
    }
}

/// Whether operations of this thread go into a graph.
pub(crate) fn is_recording() -> bool {
    // SAFETY: reads a variable of this thread.
    unsafe { tch_losses_gradient_mode() }
}

/// A `variable_list` of our own.
struct List(*mut CList);

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once.
        unsafe { tch_losses_list_free(self.0) }
    }
}

impl List {
    fn new() -> Self {
        // SAFETY: no arguments.
        List(unsafe { tch_losses_list_new() })
    }

    fn of(tensors: &[&Tensor]) -> Self {
        let list = List::new();
        for tensor in tensors {
            // SAFETY: both live; C++ copies the reference.
            unsafe { tch_losses_list_push(list.0, tensor.as_ptr()) }
        }
        list
    }

    fn tensors(&self) -> Vec<Option<Tensor>> {
        // SAFETY: the list lives, and each pointer is a tensor of its own or null.
        unsafe {
            (0..tch_losses_list_length(self.0))
                .map(|index| tch_losses_list_get(self.0, index))
                .map(|raw| (!raw.is_null()).then(|| Tensor::from_ptr(raw)))
                .collect()
        }
    }
}

/// What C++ says of a call: null, or why it failed.
fn done(error: *mut c_char) -> Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a string that C++ made for us, freed once.
    let text = unsafe {
        let text = CStr::from_ptr(error).to_string_lossy().into_owned();
        tch_losses_free_text(error);
        text
    };
    Err(TchError::Torch(text).into())
}

/// The running function, and what its `forward` could not tell C++ in its own type.
struct Held {
    function: Box<dyn Function>,
    needs_gradient: Vec<bool>,
    error: *mut Option<LossError>,
}

pub(super) fn apply(function: Box<dyn Function>, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let recorded = is_recording();
    let needs_gradient = inputs.iter().map(|input| recorded && input.requires_grad()).collect();
    let mut error = None;
    let held = Box::new(Held { function, needs_gradient, error: &raw mut error });
    let pointers: Vec<_> = inputs.iter().map(|input| input.as_ptr()).collect();
    let outputs = List::new();
    // SAFETY: C++ owns the box from here and gives it to `tch_losses_drop` once; the pointers outlive the call.
    let said = done(unsafe {
        let held = Box::into_raw(held).cast();
        tch_losses_apply(held, pointers.as_ptr(), pointers.len(), outputs.0)
    });
    match error {
        Some(error) => Err(error),
        None => said.map(|()| outputs.tensors().into_iter().flatten().collect()),
    }
}

pub(super) fn grad(
    outputs: &[&Tensor],
    inputs: &[&Tensor],
    weights: &[&Tensor],
    keep_graph: bool,
    create_graph: bool,
) -> Result<Vec<Option<Tensor>>> {
    let gradients = List::new();
    let [outputs, inputs, weights] = [outputs, inputs, weights].map(List::of);
    // SAFETY: four lists that live; the last is ours to fill.
    done(unsafe {
        let (outputs, inputs, weights) = (outputs.0, inputs.0, weights.0);
        tch_losses_grad(outputs, inputs, weights, keep_graph, create_graph, gradients.0)
    })?;
    Ok(gradients.tensors())
}

/// Tensors of their own from borrowed pointers.
///
/// # Safety
///
/// `count` pointers to tensors, or null, that live during the call.
unsafe fn tensors(raw: *const *const C_tensor, count: usize) -> Vec<Option<Tensor>> {
    if count == 0 {
        return vec![];
    }
    // SAFETY: the caller's.
    let raw = unsafe { slice::from_raw_parts(raw, count) };
    raw.iter()
        // SAFETY: a tensor that lives; it is only read.
        .map(|&raw| (!raw.is_null()).then(|| unsafe { Tensor::clone_from_ptr(raw.cast_mut()) }))
        .collect()
}

/// Runs what C++ called; an error or a panic becomes the text it throws.
fn guarded(run: impl FnOnce() -> Result<(), String>) -> *mut c_char {
    let text = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => return ptr::null_mut(),
        Ok(Err(text)) => text,
        Err(panic) => format!("a panic in an autograd function: {}", message(&*panic)),
    };
    CString::new(text.replace('\0', " ")).unwrap_or_default().into_raw()
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of an unknown type")
}

/// Called by C++ from `tch_losses_apply`.
#[unsafe(no_mangle)]
unsafe extern "C" fn tch_losses_forward(
    function: *mut c_void,
    context: *mut CContext,
    inputs: *const *const C_tensor,
    count: usize,
    outputs: *mut CList,
) -> *mut c_char {
    guarded(|| {
        // SAFETY: the box of `apply`, which waits for this call; nobody else has it yet.
        let held = unsafe { &mut *function.cast::<Held>() };
        // SAFETY: as C++ says.
        let inputs = unsafe { tensors(inputs, count) };
        let inputs: Vec<_> = inputs.into_iter().flatten().collect();
        let needs_gradient = std::mem::take(&mut held.needs_gradient);
        let mut context = Context { raw: context, forward: Some(needs_gradient) };
        let error = std::mem::replace(&mut held.error, ptr::null_mut());
        match held.function.forward(&mut context, &inputs) {
            // SAFETY: C++'s list, ours to fill during the call.
            Ok(results) => results.iter().for_each(|result| unsafe {
                tch_losses_list_push(outputs, result.as_ptr());
            }),
            Err(reason) => {
                let text = reason.to_string();
                // SAFETY: a variable of `apply`, which waits.
                unsafe { *error = Some(reason) };
                return Err(text);
            }
        }
        Ok(())
    })
}

/// Called by C++ when the node runs, one thread at a time.
#[unsafe(no_mangle)]
unsafe extern "C" fn tch_losses_backward(
    function: *mut c_void,
    context: *mut CContext,
    gradients: *const *const C_tensor,
    count: usize,
    results: *mut CList,
) -> *mut c_char {
    guarded(|| {
        // SAFETY: the node holds its mutex.
        let held = unsafe { &mut *function.cast::<Held>() };
        // SAFETY: as C++ says.
        let gradients = unsafe { tensors(gradients, count) };
        let context = Context { raw: context, forward: None };
        let inputs =
            held.function.backward(&context, &gradients).map_err(|error| error.to_string())?;
        for input in &inputs {
            let raw = input.as_ref().map_or(ptr::null(), Tensor::as_ptr);
            // SAFETY: C++'s list, ours to fill during the call.
            unsafe { tch_losses_list_push(results, raw) };
        }
        Ok(())
    })
}

/// Called by C++ when nobody needs the function any more.
#[unsafe(no_mangle)]
unsafe extern "C" fn tch_losses_drop(function: *mut c_void) {
    // SAFETY: made by `apply`, given back once.
    let held = unsafe { Box::from_raw(function.cast::<Held>()) };
    // A panic must not unwind into a destructor of C++.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(held)));
}

/// Frees a text of `guarded`.
#[unsafe(no_mangle)]
unsafe extern "C" fn tch_losses_free_error(error: *mut c_char) {
    // SAFETY: made by `CString::into_raw`.
    drop(unsafe { CString::from_raw(error) });
}
