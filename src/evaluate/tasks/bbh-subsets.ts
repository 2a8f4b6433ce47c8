/**
 * What BIG-Bench Hard's 27 tasks say before their questions, and what their answers look like: "letters" of options,
 * "numbers", "words" in order, "brackets", words of a pattern, or phrases that stand for an answer.
 */
export const bbhSubsets = {
  boolean_expressions: {
    description: "Evaluate the result of a random Boolean expression.",
    answers: "True|False",
  },
  causal_judgement: {
    description: "Answer questions about causal attribution.",
    answers: "Yes|No|yes|no",
  },
  date_understanding: {
    description: "Infer the date from context.",
    answers: "letters",
  },
  disambiguation_qa: {
    description: "Clarify the meaning of sentences with ambiguous pronouns.",
    answers: "letters",
  },
  dyck_languages: {
    description: "Correctly close a Dyck-n word.",
    answers: "brackets",
  },
  formal_fallacies: {
    description: "Distinguish deductively valid arguments from formal fallacies.",
    answers: "valid|invalid",
  },
  geometric_shapes: {
    description: "Name geometric shapes from their SVG paths.",
    answers: "letters",
  },
  hyperbaton: {
    description: "Order adjectives correctly in English sentences.",
    answers: "letters",
  },
  logical_deduction_five_objects: {
    description: "A logical deduction task which requires deducing the order of a sequence of objects.",
    answers: "letters",
  },
  logical_deduction_seven_objects: {
    description: "A logical deduction task which requires deducing the order of a sequence of objects.",
    answers: "letters",
  },
  logical_deduction_three_objects: {
    description: "A logical deduction task which requires deducing the order of a sequence of objects.",
    answers: "letters",
  },
  movie_recommendation: {
    description: "Recommend movies similar to the given list of movies.",
    answers: "letters",
  },
  multistep_arithmetic_two: {
    description: "Solve multi-step arithmetic problems.",
    answers: "numbers",
  },
  navigate: {
    description:
      "Given a series of navigation instructions, determine whether one would end up back at the starting point.",
    answers: "Yes|No|yes|no",
  },
  object_counting: {
    description: "Questions that involve enumerating objects and asking the model to count them.",
    answers: "numbers",
  },
  penguins_in_a_table: {
    description: "Answer questions about a table of penguins and their attributes.",
    answers: "letters",
  },
  reasoning_about_colored_objects: {
    description: "Answer extremely simple questions about the colors of objects on a surface.",
    answers: "letters",
  },
  ruin_names: {
    description: "Select the humorous edit that 'ruins' the input movie or musical artist name.",
    answers: "letters",
  },
  salient_translation_error_detection: {
    description: "Detect the type of error in an English translation of a German source sentence.",
    answers: "letters",
  },
  snarks: {
    description:
      'Determine which of two sentences is sarcastic.\n\nAccording to Cambridge University Dictionary, sarcasm is "the use of remarks that clearly mean the opposite of what they say, made in order to hurt someone\'s feelings or to criticize something in a humorous way." Sarcastic sentences often contain satirical or ironic utterances, hyperboles, ambivalent or witty remarks.',
    answers: "letters",
  },
  sports_understanding: {
    description:
      "Determine whether an artificially constructed sentence relating to sports is plausible or not.",
    answers: { "\\b(no|not plausible)\\b": "no", "\\b(yes|plausible)\\b": "yes" },
  },
  temporal_sequences: {
    description: "Task description: Answer questions about which times certain events could have occurred.",
    answers: "letters",
  },
  tracking_shuffled_objects_five_objects: {
    description:
      "A task requiring determining the final positions of a set of objects given their initial positions and a description of a sequence of swaps.",
    answers: "letters",
  },
  tracking_shuffled_objects_seven_objects: {
    description:
      "A task requiring determining the final positions of a set of objects given their initial positions and a description of a sequence of swaps.",
    answers: "letters",
  },
  tracking_shuffled_objects_three_objects: {
    description:
      "A task requiring determining the final positions of a set of objects given their initial positions and a description of a sequence of swaps.",
    answers: "letters",
  },
  web_of_lies: {
    description: "Evaluate a random boolean function expressed as a word problem.",
    answers: {
      "\\b(no|does not tell the truth|is not telling the truth)\\b": "no",
      "\\b(yes|tells the truth|is telling the truth)\\b": "yes",
    },
  },
  word_sorting: {
    description: "Sort a list of words.",
    answers: "words",
  },
} as const satisfies Readonly<
  Record<
    string,
    { readonly description: string; readonly answers: string | Readonly<Record<string, string>> }
  >
>;
