// A flat JSON object of what was measured.
#pragma once
#include <cmath>
#include <cstdio>
#include <string>

namespace llama::bench {

class Json {
 public:
  void text(const std::string& name, const std::string& value) {
    std::string quoted = "\"";
    for (const char c : value) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
    add(name, quoted + "\"");
  }
  void number(const std::string& name, double value) {
    char text[64];
    std::snprintf(text, sizeof text, "%.6g", value);
    add(name, std::isfinite(value) ? text : "null");
  }
  void object(const std::string& name, const std::string& whole) { add(name, whole); }
  std::string whole() const { return "{" + body_ + "}"; }

 private:
  void add(const std::string& name, const std::string& value) {
    if (!body_.empty()) body_ += ", ";
    body_ += "\"" + name + "\": " + value;
  }
  std::string body_;
};

// Whether an object begins with this name.
inline bool is_a(const std::string& json, const char* word) { return json.starts_with(std::string("{\"") + word + "\""); }

}  // namespace llama::bench
