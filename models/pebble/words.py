"""Common English words, given to the tokenizer only.

The world alone does not fill the vocabulary. With these words, text from outside the
world takes fewer tokens; the model has not learned what they mean.
"""

COMMON = """
able about above across add again age ago air all almost alone along already also always
am among an and another any anyone anything are area around as ask at away back bad be
because become been began begin behind being believe below best better between big bird
body both boy bring build built business busy but buy by call came can car care carry case
catch cause center certain change check child children choose city class clean clear close
cold color come common computer could country course cover cross cut dark data dear deep
did different do does dog done down draw dream drive drop dry during each early earth east
easy eat edge eight either else end English enough even ever every example eye face fact
fall family far fast father feel feet felt few field fill final find fine fire five fly
follow food foot for force form four free friend from front full game gave general get
girl give given glad go goes gold gone good got great green group grow had half hand
happen happy hard has have head hear heard heart heat help her here high him his hold hope
hour how however hundred idea if important in inside instead interest into island just
keep kind king knew know land language large last late later laugh law lead learn least
leave left less let letter level life light like line listen little live long look lost
lot love low machine made main make many map mark matter may maybe me mean measure memory
men mind minute miss model moment money more most mother mountain move much music must my
name near need never new next nine noise noon north not note nothing notice now number
object ocean of off often oh oil on once one only open or order other our out over own
page paper part party pass past people perhaps person phone picture piece place plan plane
plant play please point poor possible power press problem program pull push put quick
quiet quite rain ran reach read ready real reason record rest rich right ring rise road
rock roll room round rule run safe said sail same sand saw say school science sea season
seat second see seem seen send sentence set seven several shall shape ship short should
show shut sick side sign simple since sing sister sit six size skin sky sleep slow small
snow so some someone something sometimes song soon sort sound south space speak special
speed stand star start state stay step still stood stop strange street strong study such
sudden summer sun sure surface system table take talk tall teach team tell ten test than
that their them themselves these thing think third this those though thought thousand
three through time tiny to today together told tomorrow too took top total toward train
travel tree tried true try turn two type under understand until up upon us use usual
value very view visit voice voyage wait war warm was wash watch water wave way we weather
week weight went were west what wheel when where whether which while whole why wide wife
will wind window winter wish with within without woman wonder wood word work world would
write written wrong year yes yesterday yet you young your
""".split()


def common_lines() -> list:
    """Each word after a space and at the start of a sentence."""
    spaced = " " + " ".join(COMMON)
    return [spaced] + [word.capitalize() for word in COMMON]
