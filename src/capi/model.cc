// Models: plans, loading, logits; the hub.
#include <atomic>
#include <optional>

#include "capi/boundary.h"
#include "culet/json.h"

using culet::capi::Copy;
using culet::capi::Guard;
using culet::capi::Need;
using culet::capi::OptionsText;
using culet::capi::Set;
using culet::capi::Span;

namespace {

constexpr const char* kOptions = "the options";

// Hands out what `make` says of a model.
template <typename Make>
culet_status Tell(const culet_model* model, const char* model_name, char** json,
                  const char* json_name, culet_error** error, const Make& make) {
  Set(json, nullptr);
  return Guard(error, [&] {
    Need(json, json_name);
    *json = Copy(culet::ToJson(make(*Need(model, model_name).model)));
  });
}

}  // namespace

culet_status culet_describe_machine(char** json, culet_error** error) {
  Set(json, nullptr);
  return Guard(error, [&] {
    Need(json, "culet_describe_machine: json");
    *json = Copy(culet::ToJson(culet::DescribeMachine()));
  });
}

culet_status culet_find_model(const char* name, char** path, culet_error** error) {
  Set(path, nullptr);
  return Guard(error, [&] {
    Need(path, "culet_find_model: path");
    *path = Copy(culet::FindModel(&Need(name, "culet_find_model: name")).string());
  });
}

culet_status culet_describe(const char* path, const char* options, char** json,
                            culet_error** error) {
  Set(json, nullptr);
  return Guard(error, [&] {
    Need(json, "culet_describe: json");
    const culet::LoadOptions parsed = culet::ParseLoadOptions(OptionsText(options), kOptions);
    *json = Copy(culet::ToJson(culet::Describe(&Need(path, "culet_describe: path"), parsed)));
  });
}

culet_status culet_model_load(const char* path, const char* options, culet_model** model,
                              culet_error** error) {
  Set(model, nullptr);
  return Guard(error, [&] {
    Need(model, "culet_model_load: model");
    const culet::LoadOptions parsed = culet::ParseLoadOptions(OptionsText(options), kOptions);
    auto loaded = std::make_unique<culet_model>();
    loaded->model = culet::Model::Load(&Need(path, "culet_model_load: path"), parsed);
    loaded->text.text = {loaded->model, &loaded->model->text()};
    *model = loaded.release();
  });
}

void culet_model_free(culet_model* model) { delete model; }

culet_status culet_model_info(const culet_model* model, char** json, culet_error** error) {
  return Tell(model, "culet_model_info: model", json, "culet_model_info: json", error,
              [](const culet::Model& of) { return of.info(); });
}

culet_status culet_model_defaults(const culet_model* model, char** json, culet_error** error) {
  return Tell(model, "culet_model_defaults: model", json, "culet_model_defaults: json", error,
              [](const culet::Model& of) { return of.defaults(); });
}

culet_status culet_model_statistics(const culet_model* model, char** json, culet_error** error) {
  return Tell(model, "culet_model_statistics: model", json, "culet_model_statistics: json", error,
              [](const culet::Model& of) { return of.statistics(); });
}

int64_t culet_model_context(const culet_model* model) {
  return model == nullptr ? 0 : model->model->info().context;
}

int64_t culet_model_vocab(const culet_model* model) {
  return model == nullptr ? 0 : model->model->info().vocab;
}

const culet_text* culet_model_text(const culet_model* model) {
  return model == nullptr ? nullptr : &model->text;
}

namespace {

// Thrown from a callback to leave a computation that has no other way out.
struct Enough {};

}  // namespace

culet_status culet_model_logits(culet_model* model, const int32_t* tokens, size_t count,
                                int64_t chunk, culet_row_callback on_row, void* user,
                                culet_error** error) {
  return Guard(error, [&] {
    Need(on_row, "culet_model_logits: on_row");
    try {
      Need(model, "culet_model_logits: model")
          .model->Logits(Span(tokens, count, "culet_model_logits: tokens"), chunk,
                         [&](std::int64_t position, std::span<const float> logits) {
                           if (!on_row(position, logits.data(), logits.size(), user)) {
                             throw Enough();
                           }
                         });
    } catch (const Enough&) {  // as was asked for
    }
  });
}

culet_status culet_pull(const char* name, const char* options, culet_progress_callback on_progress,
                        void* user, char** folder, culet_error** error) {
  Set(folder, nullptr);
  return Guard(error, [&] {
    Need(folder, "culet_pull: folder");
    culet::PullSettings settings = culet::ParsePullSettings(OptionsText(options), kOptions);
    std::atomic<bool> stopped = false;  // `cancelled` is asked from several threads
    if (on_progress != nullptr) {
      settings.on_status = [&](const culet::PullStatus& status) {
        if (!on_progress(status.done, status.bytes, user)) stopped = true;
      };
      settings.cancelled = [&] { return stopped.load(); };
    }
    const std::optional<culet::PulledModel> pulled =
        culet::Pull(&Need(name, "culet_pull: name"), settings);
    if (pulled) *folder = Copy(pulled->folder.string());
  });
}
