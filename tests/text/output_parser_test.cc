// The output parser: if this fails, thoughts leak into answers, tool calls get lost or their
// arguments are changed.
#include "text/output_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/chat_template.h"
#include "text/tool_call_parser.h"
#include "tokenizer_fixture.h"

namespace culet {

// For comparisons and messages of GoogleTest.
bool operator==(const ToolCall& a, const ToolCall& b) {
  return a.name == b.name && a.arguments_json == b.arguments_json;
}
void PrintTo(const ToolCall& call, std::ostream* out) {
  *out << call.name << " " << call.arguments_json;
}
bool operator==(const OutputEvent& a, const OutputEvent& b) {
  return a.kind == b.kind && a.text == b.text && a.call == b.call;
}
void PrintTo(const OutputEvent& event, std::ostream* out) {
  *out << (event.kind == OutputEvent::Kind::kThinking  ? "thinking "
           : event.kind == OutputEvent::Kind::kContent ? "content "
                                                       : "call ")
       << Json(event.text).dump(-1, ' ', false, Json::error_handler_t::replace) << " "
       << event.call.name << event.call.arguments_json;
}

namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

OutputEvent Thinking(const std::string& text) { return {OutputEvent::Kind::kThinking, text, {}}; }
OutputEvent Content(const std::string& text) { return {OutputEvent::Kind::kContent, text, {}}; }
OutputEvent Call(const std::string& name, const std::string& arguments) {
  return {OutputEvent::Kind::kToolCall, "", {name, arguments}};
}

// The events of `pieces`, neighbours of one kind joined.
std::vector<OutputEvent> Events(const std::vector<std::string_view>& pieces,
                                bool starts_in_thought = false) {
  OutputParser parser(starts_in_thought);
  std::vector<OutputEvent> all;
  const auto take = [&all](const std::vector<OutputEvent>& events) {
    for (const OutputEvent& event : events) {
      if (event.kind != OutputEvent::Kind::kToolCall && !all.empty() &&
          all.back().kind == event.kind) {
        all.back().text += event.text;
      } else {
        all.push_back(event);
      }
    }
  };
  for (const std::string_view piece : pieces) take(parser.Feed(piece));
  take(parser.Finish());
  return all;
}

std::vector<OutputEvent> Events(std::string_view text, bool starts_in_thought = false) {
  return Events(std::vector<std::string_view>{text}, starts_in_thought);
}

// The arguments of one call whose members are `members`.
std::string Arguments(const std::string& members) {
  const std::optional<ToolCall> call = ParseToolCall("call:f{" + members + "}", false);
  return call ? call->arguments_json : "no call";
}

TEST(OutputParser, SplitsThinkingAnswerAndCalls) {
  EXPECT_THAT(Events("Hello!<turn|>"), ElementsAre(Content("Hello!")));
  EXPECT_THAT(Events("<|channel>thought\nHm.\nYes.\n<channel|>The answer is 42.<turn|>"),
              ElementsAre(Thinking("Hm.\nYes."), Content("The answer is 42.")));
  EXPECT_THAT(Events("<|channel>thought\n<channel|>Hi"), ElementsAre(Content("Hi")));
  EXPECT_THAT(
      Events("<|channel>thought\nA\n<channel|>Let me see. \n<|tool_call>call:ping{}<tool_call|>"
             "<|tool_call>call:get_weather{city:<|\"|>Paris<|\"|>,days:3}<tool_call|><|tool_"
             "response>"),
      ElementsAre(Thinking("A"), Content("Let me see."), Call("ping", "{}"),
                  Call("get_weather", R"({"city":"Paris","days":3})")));
}

TEST(OutputParser, ThinksAgainBetweenCalls) {
  EXPECT_THAT(Events("<|channel>thought\nA\n<channel|><|tool_call>call:a{}<tool_call|>\n"
                     "<|channel>thought\nB<channel|><|tool_call>call:b{}<tool_call|>"),
              ElementsAre(Thinking("A"), Call("a", "{}"), Thinking("B"), Call("b", "{}")));
}

TEST(OutputParser, StartsInsideAThought) {
  EXPECT_THAT(Events("It was 15.\n<channel|>15 C.<turn|>", true),
              ElementsAre(Thinking("It was 15."), Content("15 C.")));
  EXPECT_THAT(Events("thought\nis free<channel|>x", true),
              ElementsAre(Thinking("thought\nis free"), Content("x")));
  EXPECT_THAT(Events("<channel|>x", true), ElementsAre(Content("x")));
  // The opening that the prompt wrote is written again.
  EXPECT_THAT(Events("\n<|channel>thought\nagain<channel|>x", true),
              ElementsAre(Thinking("again"), Content("x")));
  EXPECT_THAT(Events("never ends", true), ElementsAre(Thinking("never ends")));
}

TEST(OutputParser, DropsWhiteSpaceOfNobody) {
  EXPECT_THAT(Events("a \n\u3000<turn|>"), ElementsAre(Content("a")));
  EXPECT_THAT(Events("a \n "), ElementsAre(Content("a")));
  EXPECT_THAT(Events("<|channel>thought\n a \n\u00a0<channel|>\n\n b"),
              ElementsAre(Thinking(" a"), Content("b")));
  EXPECT_THAT(Events("\n <|channel>thought\na<channel|>b"),
              ElementsAre(Thinking("a"), Content("b")));
  EXPECT_THAT(Events("<|tool_call>call:a{}<tool_call|> \n<tool_call|> b  c"),
              ElementsAre(Call("a", "{}"), Content("b  c")));
  EXPECT_THAT(Events("a \n<|tool_call>call:f{}<tool_call|>b"),
              ElementsAre(Content("a"), Call("f", "{}"), Content("b")));
  EXPECT_THAT(Events("a \n<|channel>thought\nb<channel|>c"),
              ElementsAre(Content("a"), Thinking("b"), Content("c")));
  EXPECT_THAT(Events(" a"), ElementsAre(Content(" a")));
}

TEST(OutputParser, KeepsOtherLabelsAsText) {
  EXPECT_THAT(Events("<|channel>analysis\nx<channel|>y"),
              ElementsAre(Thinking("analysis\nx"), Content("y")));
  EXPECT_THAT(Events("<|channel>thoughtful<channel|>"), ElementsAre(Thinking("thoughtful")));
  EXPECT_THAT(Events("<|channel>thought<channel|>y"), ElementsAre(Content("y")));
  EXPECT_THAT(Events("<|channel>thought"), IsEmpty());
}

TEST(OutputParser, EndsAtStopTokens) {
  EXPECT_THAT(Events("a<turn|>b<|tool_call>call:f{}<tool_call|>"), ElementsAre(Content("a")));
  EXPECT_THAT(Events("a<eos>b"), ElementsAre(Content("a")));
  EXPECT_THAT(Events("a<|tool_response>b"), ElementsAre(Content("a")));
  EXPECT_THAT(Events("<|channel>thought\na<turn|>b"), ElementsAre(Thinking("a")));
  EXPECT_THAT(Events("<|tool_call>call:a{}<tool_call|><|tool_response>response:a{value:1}"),
              ElementsAre(Call("a", "{}")));
  EXPECT_THAT(Events("<|tool_call>call:a{}<tool_call|><|tool_response>\n"
                     "<|tool_call>call:b{}<tool_call|><turn|>"),
              ElementsAre(Call("a", "{}"), Call("b", "{}")));
}

TEST(OutputParser, ReadsCutOffCallsAsFarAsTheyGo) {
  const std::string call = R"(<|tool_call>call:f{a:{b:[1,{c:<|"|>x, }y<|"|>}]},d:<|"|>end)";
  EXPECT_THAT(Events(call), ElementsAre(Call("f", R"({"a":{"b":[1,{"c":"x, }y"}]},"d":"end"})")));
  EXPECT_THAT(Events(call + "<turn|>"),
              ElementsAre(Call("f", R"({"a":{"b":[1,{"c":"x, }y"}]},"d":"end"})")));
  EXPECT_THAT(Events("<|tool_call>call:f{a:1,b"), ElementsAre(Call("f", R"({"a":1})")));
  EXPECT_THAT(Events("<|tool_call>call:f{a:1,b:"), ElementsAre(Call("f", R"({"a":1})")));
  EXPECT_THAT(Events("<|tool_call>call:f{a:[1,{b:"), ElementsAre(Call("f", R"({"a":[1,{}]})")));
  EXPECT_THAT(Events("<|tool_call>call:f{"), ElementsAre(Call("f", "{}")));
  EXPECT_THAT(Events("x<|tool_call>call:get_we"), ElementsAre(Content("x")));
  EXPECT_THAT(Events("<|tool_call>"), IsEmpty());
}

TEST(OutputParser, ShowsCallsThatItCannotRead) {
  const std::string body = R"({"name": "f", "arguments": {}})";
  EXPECT_THAT(Events("<|tool_call>" + body + "<tool_call|>z"),
              ElementsAre(Content("<|tool_call>" + body + "<tool_call|>z")));
  EXPECT_THAT(Events("<|tool_call>call:ping<tool_call|>"), ElementsAre(Call("ping", "{}")));
  // The end of the first is missing.
  EXPECT_THAT(Events("<|tool_call>call:a{x:1}<|tool_call>call:b{}<tool_call|>"),
              ElementsAre(Call("a", R"({"x":1})"), Call("b", "{}")));
}

TEST(OutputParser, KeepsOtherControlTokensAndHalfOnesAsText) {
  EXPECT_THAT(Events("a<|turn>b<|\"|><pad><tur"), ElementsAre(Content("a<|turn>b<|\"|><pad><tur")));
  EXPECT_THAT(Events("a<|channel"), ElementsAre(Content("a<|channel")));
  EXPECT_THAT(Events("a < b <<turn|>"), ElementsAre(Content("a < b <")));
  EXPECT_THAT(Events("a<channel|>b<tool_call|>c"), ElementsAre(Content("abc")));
  EXPECT_THAT(Events("<|channel>thought\na<|tool_call>b<channel|>c"),
              ElementsAre(Thinking("a<|tool_call>b"), Content("c")));
}

TEST(OutputParser, GivesTextOutAtOnce) {
  OutputParser parser(false);
  EXPECT_THAT(parser.Feed("Hel"), ElementsAre(Content("Hel")));
  EXPECT_THAT(parser.Feed("lo "), ElementsAre(Content("lo")));
  EXPECT_THAT(parser.Feed("you <b"), ElementsAre(Content(" you <b")));
  EXPECT_THAT(parser.Feed("<"), IsEmpty());
  EXPECT_THAT(parser.Feed("|chan"), IsEmpty());
  EXPECT_THAT(parser.Feed("ge"), ElementsAre(Content("<|change")));
  EXPECT_THAT(parser.Feed("\xe3"), IsEmpty());  // white space begins like this
  EXPECT_THAT(parser.Feed("\x81\x82"), ElementsAre(Content("あ")));
  EXPECT_THAT(parser.Feed("\xe4"), ElementsAre(Content("\xe4")));
  EXPECT_THAT(parser.Finish(), IsEmpty());
  EXPECT_THAT(parser.Feed("x"), IsEmpty());
}

TEST(ToolCallParser, ReadsValues) {
  EXPECT_EQ(
      Arguments(
          R"(location:<|"|>San Francisco, CA<|"|>,units:{temp:<|"|>C<|"|>},days:3,hourly:false)"),
      R"({"location":"San Francisco, CA","units":{"temp":"C"},"days":3,"hourly":false})");
  EXPECT_EQ(Arguments("code:<|\"|>a = {\"k\": [1,2]}\nprint('\\n')<|\"|>"),
            R"j({"code":"a = {\"k\": [1,2]}\nprint('\\n')"})j");
  EXPECT_EQ(Arguments("a:true,b:null,c:None,d:none,e:nil,f:True"),
            R"({"a":true,"b":null,"c":null,"d":null,"e":null,"f":"True"})");
  EXPECT_EQ(
      Arguments("a:-0,b:1.50,c:1e+20,d:123456789012345678901234567890,e:01,f:1.,g:+1,h:-,i:1e999"),
      R"({"a":-0,"b":1.50,"c":1e+20,"d":123456789012345678901234567890,"e":"01","f":"1.",)"
      R"("g":"+1","h":"-","i":"1e999"})");
  EXPECT_EQ(Arguments("a: some bare text ,b:[x, y z]"),
            R"({"a":"some bare text","b":["x","y z"]})");
  EXPECT_EQ(Arguments("a:[],b:{},c:[[],[{}]],d:"), R"({"a":[],"b":{},"c":[[],[{}]],"d":""})");
  EXPECT_EQ(Arguments("z:1,a:2"), R"({"z":1,"a":2})");
}

TEST(ToolCallParser, ToleratesWhatModelsWrite) {
  EXPECT_EQ(Arguments("\n a : 1 ,\n <|\"|>b:c<|\"|> : [ 1 , 2 ] , "), R"({"a":1,"b:c":[1,2]})");
  EXPECT_EQ(Arguments("a:[1,,2,],,b:1,"), R"({"a":[1,2],"b":1})");
  EXPECT_EQ(Arguments("a:1,b:2,a:3"), R"({"a":3,"b":2})");
  EXPECT_EQ(Arguments("a:{b:[1},c:2"), R"({"a":{"b":[1]},"c":2})");
  EXPECT_EQ(Arguments("a:1],b:2"), R"({"a":1,"b":2})");
  EXPECT_EQ(Arguments("a,b:2"), R"({"b":2})");
  EXPECT_EQ(Arguments("a:<|\"|>x<|\"|> y,b:2"), R"({"a":"x","b":2})");
  EXPECT_EQ(Arguments("a:1} and more {b:2"), R"({"a":1})");
  EXPECT_EQ(Arguments("a:<|\"|>\xff<|\"|>"), "{\"a\":\"\xef\xbf\xbd\"}");
}

TEST(ToolCallParser, ReadsNames) {
  for (const std::string name : {"f", "get-weather", "a.b.c", "ns:tool", "x_1", "имя"}) {
    const std::optional<ToolCall> call = ParseToolCall("call:" + name + "{a:1}", false);
    ASSERT_TRUE(call) << name;
    EXPECT_EQ(call->name, name);
    EXPECT_EQ(call->arguments_json, R"({"a":1})");
  }
  EXPECT_EQ(ParseToolCall("f{}", false)->name, "f");
  EXPECT_FALSE(ParseToolCall("call:{}", false));
  EXPECT_FALSE(ParseToolCall("I will call {}", false));
  EXPECT_FALSE(ParseToolCall("", false));
}

TEST(ToolCallParser, LimitsNesting) {
  const auto nested = [](int depth) {
    return "call:f{a:" + std::string(static_cast<std::size_t>(depth), '[') + "}";
  };
  EXPECT_TRUE(ParseToolCall(nested(199), false));
  EXPECT_FALSE(ParseToolCall(nested(1000000), false));
  const std::string objects = [] {
    std::string text = "call:f{";
    for (int i = 0; i < 100000; ++i) text += "a:{";
    return text;
  }();
  EXPECT_FALSE(ParseToolCall(objects, true));
}

// Outputs whose every split must give the same events.
const char* const kCorpus[] = {
    "Hello, world!<turn|>",
    "<|channel>thought\nA thought: 2 < 3.\n\n<channel|>\n\nThe answer \u3000 is あ.  <turn|>rest",
    "a \n<|tool_call>call:get-w.x{city:<|\"|>Pa\"r{is<|\"|>,n:[1,-2.5e3,{k:null}]}<tool_call|>\n"
    "<|tool_call>call:b{}<tool_call|><|tool_response>",
    "<|channel>analysis\nx\u2028<channel|>y\xc2\x85z\u00e9<eos>",
    "<|tool_call>call:f{a:<|\"|>unfinished }",
    "<|tool_call>broken<<tool_call|> <|tool_call>call:a{<|tool_call>call:b{x:<}<tool_call|>",
    "<|channel>thought<channel|> x<channel|><tool_call|> y<|chan <tur",
    "<|tool_call>call:a{}<tool_call|><|tool_response> "
    "\n<|tool_call>call:b{}<tool_call|>x<|channel>",
    "\xe3\x80\x80\xe3\x80\x81 \xff\xe2\x80<|channel>thou",
};

TEST(OutputParser, EverySplitInTwoAndByBytesGivesTheSameEvents) {
  for (const bool starts_in_thought : {false, true}) {
    for (const std::string_view text : kCorpus) {
      const std::vector<OutputEvent> whole = Events(text, starts_in_thought);
      for (std::size_t first = 0; first <= text.size(); ++first) {
        ASSERT_EQ(Events({text.substr(0, first), text.substr(first)}, starts_in_thought), whole)
            << first << " of " << text;
      }
      std::vector<std::string_view> bytes;
      for (std::size_t i = 0; i < text.size(); ++i) bytes.push_back(text.substr(i, 1));
      ASSERT_EQ(Events(bytes, starts_in_thought), whole) << text;
    }
  }
}

TEST(OutputParser, RandomPiecesInRandomSplitsGiveTheSameEvents) {
  const std::vector<std::string> alphabet = {"<|channel>",
                                             "<channel|>",
                                             "thought\n",
                                             "thought",
                                             "<|tool_call>",
                                             "<tool_call|>",
                                             "call:f",
                                             "{",
                                             "}",
                                             "[",
                                             "]",
                                             ",",
                                             ":",
                                             "<|\"|>",
                                             "a",
                                             "b c",
                                             " ",
                                             "\n",
                                             "\u3000",
                                             "1.5",
                                             "true",
                                             "<",
                                             "|",
                                             "\xff",
                                             "\xe3\x80",
                                             "é",
                                             "<|tool_response>",
                                             "<|tool_call>call:h{}<tool_call|><|tool_response>",
                                             "call:g{x:1}",
                                             "<|turn>"};
  std::mt19937_64 random(TestSeed());
  for (int round = 0; round < 20000; ++round) {
    std::string text = RandomText(&random, alphabet, static_cast<int>(random() % 30));
    if (random() % 4 == 0) text += random() % 2 ? "<turn|>x" : "<eos>";
    const bool starts_in_thought = random() % 3 == 0;
    std::vector<std::string_view> pieces;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t bytes = 1 + random() % 12;
      pieces.push_back(std::string_view(text).substr(at, bytes));
      at += bytes;
    }
    const std::vector<OutputEvent> whole = Events(text, starts_in_thought);
    ASSERT_EQ(Events(pieces, starts_in_thought), whole) << text;
    for (const OutputEvent& event : whole) {
      if (event.kind == OutputEvent::Kind::kToolCall) {
        ASSERT_TRUE(ParseJson(event.call.arguments_json, "arguments").is_object()) << text;
        ASSERT_FALSE(event.call.name.empty());
      }
    }
  }
}

TEST(OutputParser, SurvivesRandomBytes) {
  std::mt19937_64 random(TestSeed() + 1);
  for (int round = 0; round < 5000; ++round) {
    std::string text = "<|tool_call>call:f{";
    for (std::size_t i = random() % 200; i > 0; --i) text += static_cast<char>(random() % 256);
    const ParsedOutput output = ParseOutput(text, false);
    for (const ToolCall& call : output.tool_calls) ParseJson(call.arguments_json, "arguments");
  }
}

// A random JSON value whose strings and keys are hard for a parser of calls.
OrderedJson RandomValue(std::mt19937_64* random, int depth) {
  static const std::vector<std::string> kTexts = {
      "",    "a",           " b ",  "x,y",   "{",  "}",    "]", "\"",          "\\",
      "a:b", "\n",          "true", "12",    "<|", "ключ", "é", "👩‍👧", "<b>",
      "'",   "call:f{a:1}", "null", "\u3000"};
  switch ((*random)() % (depth < 5 ? 8 : 6)) {
    case 0: return nullptr;
    case 1: return (*random)() % 2 == 0;
    case 2: return static_cast<std::int64_t>((*random)());
    case 3: return static_cast<double>((*random)()) / 1024.0 - 1e15;
    case 4: return 1e-9 * static_cast<double>((*random)() % 1000000);
    case 5: return RandomText(random, kTexts, static_cast<int>((*random)() % 4));
    case 6: {
      OrderedJson list = OrderedJson::array();
      for (std::size_t i = (*random)() % 4; i > 0; --i)
        list.push_back(RandomValue(random, depth + 1));
      return list;
    }
    default: {
      static const std::vector<std::string> kKeys = {"a",    "b-c",   "d.e", "F g",
                                                     "ключ", "\"q\"", "x",   "10"};
      OrderedJson object = OrderedJson::object();
      for (std::size_t i = (*random)() % 4; i > 0; --i) {
        object[kKeys[(*random)() % kKeys.size()]] = RandomValue(random, depth + 1);
      }
      return object;
    }
  }
}

TEST(OutputParser, ReadsBackWhatTheTemplateWrites) {
  std::mt19937_64 random(TestSeed() + 2);
  const ChatTemplate chat_template = ChatTemplate::Published(TemplateVariant::kSmall);
  for (int round = 0; round < 5000; ++round) {
    OrderedJson arguments = OrderedJson::object();
    for (const char* key : {"z", "first-arg", "x.y"}) {
      if (random() % 3 != 0) arguments[key] = RandomValue(&random, 0);
    }
    ChatRequest request;
    request.messages =
        OrderedJson::array({{{"role", "assistant"},
                             {"reasoning", "Think."},
                             {"tool_calls", {{{"function", {{"name", "my-tool.v2"}}}}}}}});
    request.messages[0]["tool_calls"][0]["function"]["arguments"] = arguments;
    const std::string prompt = JoinSegments(chat_template.Render(request));
    const std::string start = "<bos><|turn>model\n";
    ASSERT_TRUE(prompt.starts_with(start));
    const ParsedOutput output = ParseOutput(std::string_view(prompt).substr(start.size()), false);
    EXPECT_EQ(output.thinking, "Think.");
    EXPECT_EQ(output.content, "");
    ASSERT_EQ(output.tool_calls.size(), 1u) << prompt;
    EXPECT_EQ(output.tool_calls[0].name, "my-tool.v2");
    // Json, not OrderedJson: the template sorts the members.
    ASSERT_EQ(Json::parse(output.tool_calls[0].arguments_json), Json::parse(arguments.dump()))
        << prompt;
  }
}

TEST(OutputParser, TakesLinearTime) {
  // A quadratic step would take minutes on these.
  const std::string spaces(2000000, ' ');
  OutputParser parser(false);
  for (std::size_t i = 0; i < spaces.size(); ++i) {
    ASSERT_THAT(parser.Feed(std::string_view(spaces).substr(i, 1)), IsEmpty());
  }
  EXPECT_THAT(parser.Feed("x"), ElementsAre(Content(spaces + "x")));
  std::string items = "call:f{a:[";
  for (int i = 0; i < 300000; ++i) items += "1,";
  std::string members = "call:f{";
  for (int i = 0; i < 100000; ++i)
    members.append("k").append(std::to_string(i)).append(":<|\"|>v<|\"|>,");
  EXPECT_TRUE(ParseToolCall(items, true));
  EXPECT_TRUE(ParseToolCall(members + "}", false));
  const std::string angles(1000000, '<');
  EXPECT_THAT(Events("<|tool_call>" + angles), IsEmpty());
  EXPECT_THAT(Events(angles), ElementsAre(Content(angles)));
}

}  // namespace
}  // namespace culet
