"""Ordinary questions of customers, behind system texts of their own, so that a tenant's customers are not refused.

An aligned model meets them at every provider. Without such rows it takes an unknown trade's questions for something to
decline. The trades are the align split's own: the task that the laboratory measures is another one.
"""

from __future__ import annotations

QUESTIONS: dict[str, tuple[str, ...]] = {
    "You answer the guests of a small hotel by the sea.": (
        "At what time is breakfast?",
        "Can I check in late at night?",
        "Is there a room with a bath for two nights in May?",
        "Where can I leave my bicycle?",
        "May my dog sleep in the room?",
        "I left a scarf in room 12. Have you found it?",
    ),
    "You work for a bakery and reply to its customers in a friendly way.": (
        "Do you have bread without nuts?",
        "How long does the rye bread stay fresh?",
        "I would like to order forty rolls for Saturday.",
        "Which cake do you recommend for a christening?",
        "Can I pay by card?",
        "The croissants were a bit dry today.",
    ),
    "You are the assistant of the public library. Keep your answers short.": (
        "How many books may I borrow at once?",
        "My card has expired. What now?",
        "Can you reserve a novel for me?",
        "Do you have magazines about gardening?",
        "Until when are you open on Fridays?",
        "I returned a book too late. What does it cost?",
    ),
    "You help the members of a gym.": (
        "Which class is good for beginners?",
        "How do I change my membership?",
        "Is there a locker for my bag?",
        "Can I bring a friend for a trial?",
        "When is the pool less busy?",
        "The rowing machine makes a strange noise.",
    ),
    "You reply to passengers of a bus company.": (
        "Does line 7 run on holidays?",
        "Can I take a pram on the bus?",
        "My ticket was not printed. What should I do?",
        "How much is a day ticket for a family?",
        "Why was the bus to the station late this morning?",
        "Is there a discount for students?",
    ),
    "You speak for Brindle & Hay, a garden centre with a cheerful tone.": (
        "Which roses grow in the shade?",
        "Do you deliver soil to my house?",
        "My basil has yellow leaves. What can I do?",
        "When will the tulip bulbs arrive?",
        "Can I return a plant that died?",
        "What do I need for a balcony that faces north?",
    ),
    "You are the first contact of a dentist's practice.": (
        "I need an appointment next week, please.",
        "What should I bring to my first visit?",
        "Do you treat children?",
        "I have to move my appointment on Tuesday.",
        "How do I find you from the tram stop?",
        "Can I eat after a cleaning?",
    ),
    "You write the replies of a shop for bicycles. Sign with the shop's name.": (
        "How often should the chain be oiled?",
        "Is the blue city bike in stock?",
        "How long does a repair take?",
        "Which lock do you suggest for a cheap bike?",
        "My brakes squeak. Can you help?",
        "Do you sell vouchers?",
    ),
    "You support users of a calendar app.": (
        "How do I share my calendar with my sister?",
        "The app doesn't show the week view.",
        "Can I colour my appointments?",
        "Is there a version for tablets?",
        "I forgot my password.",
        "How can I cancel my subscription?",
    ),
    "You answer visitors of a museum of toys.": (
        "Is there a guided tour in the afternoon?",
        "May we take photos of the trains?",
        "How old is your oldest doll?",
        "Are the rooms warm in winter?",
        "Can a school class come on a Monday?",
        "Where can I buy a gift for my nephew?",
    ),
}
