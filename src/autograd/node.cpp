// A torch::autograd::Function whose forward and backward are given from Rust (see bridge.rs).
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/graph_task.h>

#include <cstring>
#include <stdexcept>
#include <string>

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

extern "C" {
// Rust's side. Each returns null or an error text that `tch_losses_free_error` frees; none unwinds.
char *tch_losses_forward(void *function, AutogradContext *context, const at::Tensor *const *inputs, size_t count, variable_list *outputs);
char *tch_losses_backward(void *function, AutogradContext *context, const at::Tensor *const *gradients, size_t count, variable_list *results);
void tch_losses_drop(void *function);
void tch_losses_free_error(char *error);
}

namespace {

void raise(char *error) {
  if (error == nullptr) return;
  std::string text(error);
  tch_losses_free_error(error);
  throw std::runtime_error(text);
}

std::vector<const at::Tensor *> pointers(at::ArrayRef<at::Tensor> tensors) {
  std::vector<const at::Tensor *> result;
  result.reserve(tensors.size());
  for (const auto &tensor : tensors) result.push_back(tensor.defined() ? &tensor : nullptr);
  return result;
}

// Owns the Rust value; the graph's node owns this.
struct Held : torch::CustomClassHolder {
  void *function;
  explicit Held(void *function) : function(function) {}
  ~Held() override { tch_losses_drop(function); }
};

const char *const held = "function";

struct RustFunction : torch::autograd::Function<RustFunction> {
  static variable_list forward(AutogradContext *context, at::TensorList inputs, const c10::intrusive_ptr<Held> &function) {
    context->set_materialize_grads(false);
    context->saved_data[held] = at::IValue::make_capsule(function);
    variable_list outputs;
    const auto in = pointers(inputs);
    raise(tch_losses_forward(function->function, context, in.data(), in.size(), &outputs));
    variable_list discrete;
    for (const auto &output : outputs) {
      if (!torch::autograd::isDifferentiableType(output.scalar_type())) discrete.push_back(output);
    }
    context->mark_non_differentiable(discrete);
    return outputs;
  }

  static variable_list backward(AutogradContext *context, const variable_list &gradients) {
    const auto function = c10::static_intrusive_pointer_cast<Held>(context->saved_data[held].toCapsule());
    variable_list results;
    const auto in = pointers(gradients);
    raise(tch_losses_backward(function->function, context, in.data(), in.size(), &results));
    results.emplace_back(); // the argument `function` has none
    return results;
  }
};

template <typename F>
char *guarded(F f) {
  try {
    f();
    return nullptr;
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an exception that is no std::exception");
  }
}

} // namespace

extern "C" {

// Takes `function` over, whatever happens.
char *tch_losses_apply(void *function, const at::Tensor *const *inputs, size_t count, variable_list *outputs) {
  return guarded([&] {
    auto owner = c10::make_intrusive<Held>(function);
    variable_list in;
    in.reserve(count);
    for (size_t i = 0; i < count; ++i) in.push_back(*inputs[i]);
    *outputs = RustFunction::apply(at::TensorList(in), owner);
  });
}

variable_list *tch_losses_list_new() { return new variable_list; }
void tch_losses_list_free(variable_list *list) { delete list; }
size_t tch_losses_list_length(const variable_list *list) { return list->size(); }

// A tensor of its own for the caller; null for one that is not defined.
at::Tensor *tch_losses_list_get(const variable_list *list, size_t index) {
  const auto &tensor = (*list)[index];
  return tensor.defined() ? new at::Tensor(tensor) : nullptr;
}

// Null stands for no tensor.
void tch_losses_list_push(variable_list *list, const at::Tensor *tensor) {
  if (tensor == nullptr) {
    list->emplace_back();
  } else {
    list->push_back(*tensor);
  }
}

char *tch_losses_save(AutogradContext *context, const variable_list *tensors) {
  return guarded([&] { context->save_for_backward(*tensors); });
}

char *tch_losses_saved(const AutogradContext *context, variable_list *tensors) {
  return guarded([&] { *tensors = context->get_saved_variables(); });
}

// `weights` holds the gradient of each output, or is empty for ones.
char *tch_losses_grad(const variable_list *outputs, const variable_list *inputs, const variable_list *weights, bool keep_graph, bool create_graph, variable_list *gradients) {
  return guarded([&] {
    *gradients = torch::autograd::grad(*outputs, *inputs, *weights, keep_graph, create_graph, /*allow_unused=*/true);
  });
}

bool tch_losses_needs_gradient(const AutogradContext *context, size_t input) { return context->needs_input_grad(input); }
bool tch_losses_keeps_graph() { return torch::autograd::get_current_graph_task_keep_graph(); }
bool tch_losses_gradient_mode() { return at::GradMode::is_enabled(); }
void tch_losses_free_text(char *text) { free(text); }
}
