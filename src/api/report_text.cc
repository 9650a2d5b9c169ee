#include "api/report_text.h"

namespace culet {

const std::string& ReportText() {
  static const std::string text =
      R"(The lighthouse keeper's daughter learned to read from the logbook. Every evening her father wrote
down the wind, the state of the sea and the ships that had passed, and every evening she copied the
page into a notebook of her own. By the time she was nine she knew forty words for weather and could
tell a collier from a packet boat by the set of its lights. When the automatic lamp was installed the
family moved to the town, where nothing was written down and nobody looked at the sky. She missed the
sound of the pen more than the sound of the water.

Water boils at 100 degrees Celsius at sea level, but at lower temperatures on a mountain, because the
pressure of the air is lower there. At 3,000 metres it boils at about 90 degrees, so that an egg takes
longer to cook. A pressure cooker does the opposite: it keeps the steam in, the pressure rises, and the
water becomes hotter than 100 degrees before it boils.

How to plant a tree:
1. Dig a hole twice as wide as the roots and just as deep.
2. Loosen the soil at the bottom and take out the stones.
3. Set the tree upright, so that the base of the trunk is level with the ground.
4. Fill the hole, tread the earth down gently, and give it two buckets of water.
5. Tie the tree to a stake on the side from which the wind blows.

Question: A train leaves at 14:25 and arrives at 17:10. It stops twice, for ten minutes each time. How
long does it move?
Answer: From 14:25 to 17:10 there are 2 hours and 45 minutes, that is 165 minutes. The two stops take
2 × 10 = 20 minutes. So the train moves for 165 − 20 = 145 minutes, or 2 hours and 25 minutes.

def longest_word(text):
    """Returns the longest word of a text; the first of several, None if there is no word."""
    longest = None
    for word in text.split():
        if longest is None or len(word) > len(longest):
            longest = word
    return longest

Der Zug fuhr langsam durch das Tal. Auf den Wiesen lag noch Schnee, aber an den Hängen blühten schon
die ersten Krokusse, und der Schaffner sagte, so früh habe er sie noch nie gesehen.

La bibliothèque ferme à dix-huit heures le samedi. Si vous voulez emprunter plus de cinq livres, il faut
demander une carte spéciale à l'accueil; elle est gratuite pour les étudiants.

El mercado abre los martes y los viernes por la mañana. Los agricultores de la región venden fruta,
verdura y queso, y a mediodía ya no queda casi nada.

Dear Ms Okafor, thank you for your letter of 3 March. We are sorry that the parcel reached you damaged.
A replacement was sent this morning and should arrive within two working days; you need not return the
first one. If anything else is wrong, please write to us again and mention the number 48-2217.

In 1869 two railway lines met at a place where there was no town. A crowd of workers, officials and
photographers had come to watch a golden spike being driven into the last sleeper. The news went out by
telegraph to both coasts at once: it was one of the first events that a whole country heard of in the
same minute. Within ten years the journey that had taken half a year by wagon took eight days.
)";
  return text;
}

}  // namespace culet
