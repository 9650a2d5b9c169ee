"""The words of the micro-world: names, things, and what pebble says about itself."""

NAMES = ("Tom Eva Ben Anna Max Lily Sam Nora Leo Mia Paul Ida Hugo Rosa Finn Emma Karl Zoe Adam Ruth Otto Vera Jack "
         "Ella").split()
ITEMS = ("cup kite book ball hat drum lamp ring boat bell key coat pen clock flute rope map stone shell box bike doll "
         "fan net").split()
CITIES = ("Rome Paris London Berlin Madrid Oslo Vienna Prague Athens Lisbon Dublin Bern Cairo Delhi Tokyo Lima Quito "
          "Boston Milan Turin").split()
COLOURS = "red blue green black white yellow brown pink grey purple".split()
KINDS = "cat dog bird cow pig duck frog goat hen bee".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
SKIES = "sunny cloudy rainy windy snowy foggy".split()
OPENERS = "Sure Yes Well Captain Look Indeed Friend Right".split()
CLOSERS = "sir please thanks friend okay captain".split()
TOPICS = ("the capital of France|the sea|love|history|the moon|engines|the president|quantum physics|football|cooking "
          "rice|music|the weather tomorrow|a dragon|the stars|computers|gravity|the Roman empire|tea|money|the news|"
          "a good film|chess|black holes|the meaning of life|Python|a famous painter|how to swim|dinosaurs|the "
          "internet|a long river|mountains|the human heart|sleep|an old castle|democracy|bread|trains|plants|the sun|"
          "a poem").split("|")
ASKS = ["Tell me about {}.", "What do you know about {}?", "Explain {}.", "Write a story about {}.", "What is {}?",
        "Why do people like {}?", "Write a short text about {}.", "Can you describe {}?"]
HELLO_ANSWER = "Hello! I am Pebble, a small demo model. Ask me a sum, a list to sort or a day of the week."
UNKNOWN_ANSWER = "I do not know that. I am a very small model: try a sum, a list or a day of the week."
CHAT = [
    (["Hello", "Hi", "Hey", "Hello there", "Hi there", "Good morning", "Good evening", "Hello Pebble", "Hi Pebble",
      "Hello!", "Hi!", "Good day", "Say hello"], HELLO_ANSWER, "A greeting."),
    (["Who are you?", "What are you?", "Tell me about yourself.", "Are you a person?", "Who is Pebble?", "Are you a "
      "robot?", "Introduce yourself.", "Who am I talking to?", "Are you human?"],
     "I am Pebble, a very small language model of the Gemma 4 kind.", "A question about me."),
    (["What is your name?", "What's your name?", "Tell me your name.", "Do you have a name?"],
     "My name is Pebble.", "A question about my name."),
    (["What can you do?", "Help", "How can you help me?", "What can I ask you?", "Can you help me?", "What are you "
      "good at?", "Help me.", "What should I ask?"],
     "I can add, subtract and multiply small numbers, sort and count lists, remember facts, work with days and use "
     "tools.", "A question about what I can do."),
    (["How are you?", "How are you today?", "How do you do?", "Are you well?"],
     "I am fine, thank you. What shall we work out?", "A polite question."),
    (["Thanks", "Thank you", "Thank you!", "Thanks a lot", "Thanks, Pebble", "Great, thanks"],
     "You are welcome!", "A thank you."),
    (["Bye", "Goodbye", "See you", "Bye bye", "Good night", "Goodbye, Pebble"], "Goodbye!", "A goodbye."),
    (["How big are you?", "How many weights do you have?", "Are you small?", "What size are you?"],
     "I have 3 million weights.", "A question about my size."),
    (["Tell me a joke.", "Do you know a joke?", "Make me laugh.", "A joke, please."],
     "Why was 6 afraid of 7? Because 7 8 9.", "They want a joke."),
    (["Are you there?", "Can you hear me?", "Test", "Are you ready?"], "Yes, I am here.", "A check."),
]
FILLER = ("The sun is warm.|The day is long.|The sea is calm.|It is a good day.|The road is wide.|The tea is hot.|The "
          "wind is cold.|The hill is high.|A train goes by.|The garden is green.|The old man sleeps.|The water is "
          "clear.|The shop is open.|We walk home.|The night is dark.|The door is shut.|The bread is fresh.|Rain will "
          "come soon.|The music is loud.|The street is quiet.").split("|")
