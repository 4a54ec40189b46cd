#include "troupe/actors/stack_trace.hpp"

#include "troupe/actors/symbol_table.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cxxabi.h>
#include <dlfcn.h>
#include <exception>
#include <link.h>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <typeinfo>
#include <unwind.h>

namespace troupe::detail {
namespace {

constinit thread_local throw_trace_scope* innermost = nullptr;

// Bounds what a throw costs far down in a recursion, where folding alone would not end the walk.
constexpr int deepest = 1024;

} // namespace

struct throw_recorder {
  throw_trace_scope& scope;
  std::uintptr_t thrower; // where the call of __cxa_throw returns to, if it did
  bool in_thrower = false;
  int depth = 0;

  void record() {
    scope.size_ = 0;
    const auto visit = [](_Unwind_Context* context, void* self) { return static_cast<throw_recorder*>(self)->visit(context); };
    _Unwind_Backtrace(visit, this);
  }

private:
  _Unwind_Reason_Code visit(_Unwind_Context* context) {
    int exact = 0; // whether the address is that of the instruction, not of the one after a call
    const std::uintptr_t address = _Unwind_GetIPInfo(context, &exact);
    in_thrower = in_thrower || address == thrower; // the frames before are the hook's
    if (!in_thrower)
      return _URC_NO_REASON;
    // For frames on the way up this is their stack pointer. The owner's equals the one it had in the
    // constructor, or is less if it pushed arguments for this call: then the owner was the frame before.
    const std::uintptr_t stack_pointer = _Unwind_GetCFA(context);
    if (stack_pointer > scope.owner_ && depth > 0)
      return _URC_END_OF_STACK;
    if (!add(exact ? address : address - 1) || ++depth == deepest || stack_pointer == scope.owner_)
      return _URC_END_OF_STACK;
    return _URC_NO_REASON;
  }

  bool add(std::uintptr_t address) {
    auto& size = scope.size_;
    if (size > 0 && scope.frames_[size - 1].address == address) {
      ++scope.frames_[size - 1].count;
      return true;
    }
    if (size == scope.frames_.size())
      return false;
    scope.frames_[size++] = {address, 1};
    return true;
  }

public:
  static std::vector<throw_trace_scope::raw_frame> frames() {
    if (!innermost)
      return {};
    const auto begin = innermost->frames_.begin();
    return {begin, begin + static_cast<std::ptrdiff_t>(innermost->size_)};
  }
};

// What is noted is the stack pointer of the caller, hence never inlined.
throw_trace_scope::throw_trace_scope() noexcept
  : outer_(innermost), owner_(reinterpret_cast<std::uintptr_t>(__builtin_dwarf_cfa())), unwinding_(std::uncaught_exceptions()) {
  innermost = this;
}

throw_trace_scope::~throw_trace_scope() {
  innermost = outer_;
  if (outer_ && size_ > 0 && std::uncaught_exceptions() > unwinding_) {
    std::copy_n(frames_.begin(), size_, outer_->frames_.begin());
    outer_->size_ = size_;
  }
}

namespace {

// Symbols by path, read once for each file and kept: a process that reports one error often reports more.
std::string static_name(const char* path, std::uint64_t offset) {
  static std::mutex mutex; // guards tables; held while a file is read, so that none is read twice
  // never destroyed: other threads may throw while the program ends
  static auto& tables = *new std::map<std::string, symbol_table, std::less<>>;
  const std::lock_guard lock(mutex);
  auto i = tables.find(path);
  if (i == tables.end())
    i = tables.try_emplace(path, path).first;
  return std::string(i->second.find(offset));
}

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  for (auto at = text.find(what); at != text.npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
}

// Parts that the compiler made of a function, "fail() [clone .cold]" in C++ and "fail.cold" in C, get its
// bare name.
std::string demangled(const std::string& name) {
  const std::unique_ptr<char, void (*)(void*)> plain(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, nullptr), &std::free);
  if (!plain)
    return name.substr(0, name.find('.'));
  std::string text = plain.get();
  replace_all(text, "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >", "std::string");
  replace_all(text, "std::__cxx11::", "std::");
  return text.substr(0, text.find(" [clone ."));
}

stack_frame named(std::uintptr_t address, int count) {
  stack_frame frame{.function = {}, .module = {}, .offset = address, .count = count};
  Dl_info info{};
  link_map* map = nullptr;
  if (::dladdr1(reinterpret_cast<void*>(address), &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0 || !map)
    return frame;
  frame.offset = address - map->l_addr;
  const std::string_view file = info.dli_fname;
  frame.module = file.substr(file.rfind('/') + 1);
  // The program itself has no name in the list of what is loaded.
  const char* path = *map->l_name ? map->l_name : "/proc/self/exe";
  frame.function = demangled(info.dli_sname ? info.dli_sname : static_name(path, frame.offset));
  return frame;
}

} // namespace

std::vector<stack_frame> last_throw_trace() {
  std::vector<stack_frame> trace;
  for (const auto& raw : throw_recorder::frames())
    trace.push_back(named(raw.address, raw.count));
  return trace;
}

} // namespace troupe::detail

std::string troupe::to_text(std::span<const stack_frame> frames) {
  std::string text;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto& f = frames[i];
    char offset[24];
    std::snprintf(offset, sizeof offset, "+0x%llx", static_cast<unsigned long long>(f.offset));
    text +=
      "  #" + std::to_string(i) + ' ' + (f.function.empty() ? "??" : f.function) + " in " + (f.module.empty() ? "??" : f.module) + offset;
    if (f.count > 1)
      text += " (" + std::to_string(f.count) + " times)";
    text += '\n';
  }
  return text;
}

// There only where the program is built with AddressSanitizer.
extern "C" [[gnu::weak]] void __asan_handle_no_return();

/// Takes the place of the C++ runtime's function of that name in the whole process, and calls it. An
/// executable that links this statically exports it to libraries by itself, since libstdc++ refers to it. It
/// is declared, as one that doesn't return, in <cxxabi.h>.
extern "C" [[gnu::visibility("default")]] void __cxxabiv1::__cxa_throw(void* exception, std::type_info* type, void (*destroy)(void*)) {
  using throw_function = void(void*, std::type_info*, void (*)(void*));
  static auto* const next = reinterpret_cast<throw_function*>(::dlsym(RTLD_NEXT, "__cxa_throw"));
  if (auto* scope = troupe::detail::innermost) {
    const auto* thrower = __builtin_extract_return_addr(__builtin_return_address(0));
    troupe::detail::throw_recorder{*scope, reinterpret_cast<std::uintptr_t>(thrower)}.record();
  }
  // AddressSanitizer has such a function too, to do this; where it is linked statically, ours replaces it.
  if (&__asan_handle_no_return)
    __asan_handle_no_return();
  if (next)
    next(exception, type, destroy);
  std::fputs("troupe: no __cxa_throw behind ours: libstdc++ must be a shared library\n", stderr);
  std::abort();
}
