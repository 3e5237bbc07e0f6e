"""Joins of four to eight tables in the manner of the Join Order Benchmark: a film database of our own making.

Titles, people, companies, keywords and characters each have a key, of a type of its own, and what connects two of them
lies with one or the other, so that every query joins across keys. The rows hang together as real ones do: a title's
country is most likely its companies' and decides its language, its genre draws its keywords, few people play in many
titles. Queries look at that with LIKE, IN and ranges, and tell what is least of what they find."""

import random
import uuid

from harness.workload import Query, Workload, lines

SCHEMA = """
CREATE TABLE kinds (id integer PRIMARY KEY, kind varchar(15) NOT NULL);
CREATE TABLE roles (id integer PRIMARY KEY, role varchar(32) NOT NULL);
CREATE TABLE company_kinds (id integer PRIMARY KEY, kind varchar(32) NOT NULL);
CREATE TABLE info_kinds (id integer PRIMARY KEY, info varchar(32) NOT NULL);
CREATE TABLE link_kinds (id integer PRIMARY KEY, link varchar(32) NOT NULL);
CREATE TABLE titles (id integer PRIMARY KEY, title text NOT NULL, kind_id integer NOT NULL, production_year integer,
  episode_of integer, episode integer);
CREATE TABLE people (id bigint PRIMARY KEY, name text NOT NULL, gender char(1), born date);
CREATE TABLE characters (id uuid PRIMARY KEY, name text NOT NULL);
CREATE TABLE companies (code varchar(10) PRIMARY KEY, name text NOT NULL, country varchar(6));
CREATE TABLE keywords (id smallint PRIMARY KEY, keyword text NOT NULL);
CREATE TABLE other_names (id integer, person_id bigint, name text NOT NULL, PRIMARY KEY (person_id, id));
CREATE TABLE casts (id integer, person_id bigint, title_id integer NOT NULL, character_id uuid, role_id integer NOT NULL,
  note text, PRIMARY KEY (person_id, id));
CREATE TABLE title_companies (title_id integer NOT NULL, company_code varchar(10) NOT NULL, kind_id integer NOT NULL, note text);
CREATE TABLE title_keywords (title_id integer, keyword_id smallint, PRIMARY KEY (title_id, keyword_id));
CREATE TABLE title_info (title_id integer NOT NULL, info_kind_id integer NOT NULL, info text NOT NULL, note text);
CREATE TABLE title_scores (title_id integer NOT NULL, info_kind_id integer NOT NULL, score numeric(8,1) NOT NULL);
CREATE TABLE person_info (person_id bigint NOT NULL, info_kind_id integer NOT NULL, info text NOT NULL, note text);
CREATE TABLE links (title_id integer, linked_id integer, link_kind_id integer NOT NULL, PRIMARY KEY (title_id, linked_id));
"""
KEYSPACES = {"title": "integer", "person": "bigint", "character": "uuid", "company": "varchar", "keyword": "smallint"}
# Casts lie with their people, companies' shares with the companies, links with the title that is linked to.
KEYS = {"kinds": None, "roles": None, "company_kinds": None, "info_kinds": None, "link_kinds": None,
        "titles": ("title", "id"), "people": ("person", "id"), "characters": ("character", "id"),
        "companies": ("company", "code"), "keywords": ("keyword", "id"), "other_names": ("person", "person_id"),
        "casts": ("person", "person_id"), "title_companies": ("company", "company_code"),
        "title_keywords": ("title", "title_id"), "title_info": ("title", "title_id"), "title_scores": ("title", "title_id"),
        "person_info": ("person", "person_id"), "links": ("title", "linked_id")}

KINDS = ["movie", "tv series", "tv movie", "video movie", "episode"]
ROLES = ["actor", "actress", "producer", "writer", "director", "composer"]
COMPANY_KINDS = ["distributors", "production companies", "special effects companies"]
INFO_KINDS = ["genres", "languages", "countries", "release dates", "budget", "rating", "votes", "mini biography", "height"]
GENRES, LANGUAGES, COUNTRIES, RELEASES, BUDGET, RATING, VOTES, BIOGRAPHY, HEIGHT = range(1, len(INFO_KINDS) + 1)
LINK_KINDS = ["follows", "followed by", "remake of", "features", "spin off from"]
# Country, its code as companies have it, its language, how often.
NATIONS = [("USA", "[us]", "English", 8), ("UK", "[gb]", "English", 4), ("Germany", "[de]", "German", 3),
           ("France", "[fr]", "French", 3), ("Japan", "[jp]", "Japanese", 2), ("Sweden", "[se]", "Swedish", 1),
           ("Denmark", "[dk]", "Danish", 1)]
# What a genre's titles are about.
GENRE_WORDS = {
    "Horror": ["murder", "blood", "violence", "vampire", "gore", "cult-film"],
    "Action": ["hero", "martial-arts", "hand-to-hand-combat", "superhero", "violence", "based-on-comic", "sequel"],
    "Drama": ["love", "marriage", "family-relationships", "female-name-in-title", "independent-film", "death"],
    "Comedy": ["friendship", "wedding", "dog", "love", "party", "independent-film"],
    "Thriller": ["murder", "murder-in-title", "blood", "suspense", "secret", "revenge"],
    "Documentary": ["archive-footage", "interview", "nature", "war"],
    "Sci-Fi": ["computer-animation", "magnet", "space", "robot", "superhero", "character-name-in-title", "sequel"],
}
FIRST_NAMES = {"m": ["Tim", "Robert", "Angus", "Xavier", "Bert", "Downey", "Peter", "Zoltan", "Jan"],
               "f": ["Angela", "Anna", "Yvonne", "Brigitte", "Zoe", "Greta", "Mia", "Ann", "Hanako"]}
LAST_NAMES = ["Abrams", "Berg", "Yamada", "Bertrand", "Downing", "Xu", "Larsen", "Meyer", "O'Neil", "Zimmer", "Angström", "Dupont"]
TITLE_WORDS = ["Dark", "Money", "Champion", "Iron", "Night", "Freddy", "Saw", "Kung", "Vampire", "Birthday", "Dragon", "Murder",
               "Summer", "Lost", "Silent", "Loser", "Dream", "Hell", "Home", "River"]
NOTES = ["(voice)", "(voice) (uncredited)", "(voice: English version)", "(producer)", "(executive producer)", "(writer)",
         "(story)", "(uncredited)", "(as himself)"]


def uneven(choose, count):
    """1 to count, small ones far more often."""
    return int(count * choose.random() ** 3) + 1


class Generator:
    """The same rows for the same scale, always."""

    def __init__(self, scale):
        self.random = random.Random(1895)
        self.tables = {table: [] for table in KEYS}
        for table, names in (("kinds", KINDS), ("roles", ROLES), ("company_kinds", COMPANY_KINDS), ("info_kinds", INFO_KINDS),
                             ("link_kinds", LINK_KINDS)):
            self.tables[table] = list(enumerate(names, 1))
        self.words = sorted({word for words in GENRE_WORDS.values() for word in words})
        self.tables["keywords"] = list(enumerate(self.words, 1))
        self.companies(max(30, int(500 * scale)))
        self.people(max(50, int(4000 * scale)))
        self.characters(max(40, int(3000 * scale)))
        self.titles(max(60, int(3000 * scale)))
        self.links()

    def nation(self):
        return self.random.choices(NATIONS, [nation[3] for nation in NATIONS])[0]

    def companies(self, count):
        self.companies_of = {code: [] for _, code, _, _ in NATIONS}
        for number in range(count):
            name, country = self.random.choice(TITLE_WORDS), self.nation()[1]
            code = f"{name[:3].lower()}-{number}"
            self.companies_of[country].append(code)
            kind = self.random.choice(["Film", "Pictures", "Warner Film", "Polygram", "Animation", "Studios"])
            self.tables["companies"].append((code, f"{name} {kind} {number}", country if number % 9 else None))

    def people(self, count):
        choose = self.random
        for key in range(1, count + 1):
            gender = choose.choice("mmf")
            first, last = choose.choice(FIRST_NAMES[gender]), choose.choice(LAST_NAMES)
            born = f"{choose.randint(1890, 1995)}-{choose.randint(1, 12):02}-{choose.randint(1, 28):02}"
            key += 10_000_000_000
            self.tables["people"].append((key, f"{last}, {first} ({key % 97})", gender if key % 11 else None,
                                          born if key % 7 else None))
            for number in range(choose.choice((0, 0, 1, 2))):
                self.tables["other_names"].append((number + 1, key, f"{first[0]}. {last}{'a' * number}"))
            if choose.random() < 0.4:
                self.tables["person_info"].append((key, BIOGRAPHY, f"{first} {last} was born in {choose.choice(NATIONS)[0]}",
                                                   choose.choice(["Volker Boehm", "Anonymous", None])))
            if choose.random() < 0.3:
                self.tables["person_info"].append((key, HEIGHT, f"{choose.randint(150, 205)} cm", None))
        self.person_count = count

    def characters(self, count):
        self.character_ids = []
        for number in range(count):
            key = uuid.UUID(int=self.random.getrandbits(128), version=4)
            self.character_ids.append(key)
            who = self.random.choice(["Queen", "King", "Doctor", "Tony Stark", "Man", "Herself", "Detective", "Captain"])
            self.tables["characters"].append((key, f"{who} {self.random.choice(LAST_NAMES)} {number % 50}"))

    def titles(self, count):
        choose = self.random
        for key in range(1, count + 1):
            country, code, language, _ = self.nation()
            genre = choose.choice(list(GENRE_WORDS))
            year = 2015 - int(90 * choose.random() ** 2)
            kind = choose.choices(range(1, 6), (5, 2, 1, 1, 2))[0]
            episode = (choose.randint(1, key), choose.randint(1, 100)) if kind == 5 else (None, None)
            name = " ".join(choose.sample(TITLE_WORDS, choose.randint(1, 3)))
            self.tables["titles"].append((key, f"{name} {key % 41}", kind, year if key % 23 else None, *episode))
            self.infos(key, country, language, genre, year)
            for word in choose.sample(GENRE_WORDS[genre], choose.randint(1, 4)):
                self.tables["title_keywords"].append((key, self.words.index(word) + 1))
            for _ in range(choose.randint(1, 3)):
                at_home = self.companies_of[code if choose.random() < 0.8 else self.nation()[1]] or self.companies_of["[us]"]
                note = choose.choice([None, None, "(as Metro-Goldwyn-Mayer Pictures)", f"({year}) ({country}) (theatrical)",
                                      "(2006) (worldwide) (TV)", "(presents)", "(co-production)"])
                self.tables["title_companies"].append((key, at_home[uneven(choose, len(at_home)) - 1], choose.randint(1, 3), note))
            for _ in range(choose.randint(2, 10)):
                person = uneven(choose, self.person_count)
                role = choose.choices(range(1, 7), (6, 4, 2, 2, 1, 1))[0]
                character = choose.choice(self.character_ids) if role <= 2 else None
                self.tables["casts"].append((len(self.tables["casts"]) + 1, person + 10_000_000_000, key, character, role,
                                             choose.choice([None, None, *NOTES])))

    def infos(self, key, country, language, genre, year):
        choose = self.random
        add = self.tables["title_info"].append
        add((key, GENRES, genre, None))
        add((key, LANGUAGES, language, None))
        add((key, COUNTRIES, country, None))
        add((key, RELEASES, f"{country}:{choose.randint(1, 28)} {choose.choice(['March', 'June', 'October'])} {year}",
             choose.choice([None, "(internet)", "(premiere)"])))
        if choose.random() < 0.3:
            add((key, BUDGET, f"${choose.randint(1, 200)},000,000", None))
        if choose.random() < 0.7:
            tenths = min(99, choose.randint(10, 90) + (12 if genre == "Drama" else 0))
            self.tables["title_scores"].append((key, RATING, f"{tenths // 10}.{tenths % 10}"))
            self.tables["title_scores"].append((key, VOTES, f"{choose.randint(5, 20_000)}.0"))

    def links(self):
        choose = self.random
        made = set()
        count = len(self.tables["titles"])
        while len(made) < count // 6:
            made.add((choose.randint(1, count), choose.randint(1, count)))
        self.tables["links"] = [(*pair, choose.randint(1, len(LINK_KINDS))) for pair in sorted(made)]


def load(scale):
    for table, rows in Generator(scale).tables.items():
        yield table, lines(rows)


QUERIES = {
    # Which production company's films of a country have no television note?
    "J1": Query("""
SELECT min(tc.note) AS production_note, min(t.title) AS movie_title, min(t.production_year) AS movie_year, count(*) AS matches
FROM company_kinds AS ck, companies AS c, title_companies AS tc, titles AS t, title_scores AS s, info_kinds AS ik
WHERE ck.kind = 'production companies' AND ik.info = 'rating' AND tc.note NOT LIKE '%(as Metro-Goldwyn-Mayer Pictures)%'
  AND (tc.note LIKE '%(co-production)%' OR tc.note LIKE '%(presents)%')
  AND ck.id = tc.kind_id AND c.code = tc.company_code AND t.id = tc.title_id AND t.id = s.title_id AND ik.id = s.info_kind_id
  AND s.score > 5.0"""),
    "J2": Query("""
SELECT min(t.title) AS movie_title, count(*) AS matches
FROM companies AS c, keywords AS k, title_companies AS tc, title_keywords AS tk, titles AS t
WHERE c.country = '[de]' AND k.keyword = 'character-name-in-title' AND c.code = tc.company_code AND tc.title_id = t.id
  AND t.id = tk.title_id AND tk.keyword_id = k.id AND tc.title_id = tk.title_id"""),
    "J3": Query("""
SELECT min(t.title) AS movie_title, count(*) AS matches
FROM keywords AS k, title_info AS i, title_keywords AS tk, titles AS t
WHERE k.keyword LIKE '%sequel%' AND i.info IN ('Sweden', 'Denmark', 'Germany', 'Swedish', 'Danish', 'German')
  AND t.production_year > 1995 AND t.id = i.title_id AND t.id = tk.title_id AND tk.title_id = i.title_id AND k.id = tk.keyword_id"""),
    "J4": Query("""
SELECT min(s.score) AS rating, min(t.title) AS movie_title, count(*) AS matches
FROM info_kinds AS ik, keywords AS k, title_scores AS s, title_keywords AS tk, titles AS t
WHERE ik.info = 'rating' AND k.keyword LIKE '%murder%' AND s.score > 6.0 AND t.production_year BETWEEN 1990 AND 2010
  AND t.id = s.title_id AND t.id = tk.title_id AND k.id = tk.keyword_id AND ik.id = s.info_kind_id"""),
    "J5": Query("""
SELECT min(k.keyword) AS movie_keyword, min(p.name) AS actor_name, min(t.title) AS hero_movie, count(*) AS matches
FROM casts AS c, keywords AS k, title_keywords AS tk, people AS p, titles AS t
WHERE k.keyword IN ('superhero', 'sequel', 'based-on-comic', 'violence', 'hero', 'robot') AND p.name LIKE '%Downey%'
  AND t.production_year > 2005 AND k.id = tk.keyword_id AND t.id = tk.title_id AND t.id = c.title_id AND p.id = c.person_id"""),
    "J6": Query("""
SELECT min(p.name) AS of_person, min(t.title) AS biography_movie, count(*) AS matches
FROM other_names AS o, casts AS c, info_kinds AS ik, link_kinds AS lk, links AS l, people AS p, person_info AS pi, titles AS t
WHERE o.name LIKE '%a%' AND ik.info = 'mini biography' AND lk.link = 'features' AND p.name >= 'A' AND p.name < 'F'
  AND (p.gender = 'm' OR (p.gender = 'f' AND p.name LIKE 'B%')) AND pi.note = 'Volker Boehm'
  AND t.production_year BETWEEN 1980 AND 2014 AND p.id = o.person_id AND p.id = pi.person_id AND c.person_id = p.id
  AND t.id = c.title_id AND l.linked_id = t.id AND lk.id = l.link_kind_id AND ik.id = pi.info_kind_id
  AND pi.person_id = o.person_id AND pi.person_id = c.person_id AND o.person_id = c.person_id AND c.title_id = l.linked_id"""),
    "J7": Query("""
SELECT min(o.name) AS alternative_name, min(ch.name) AS voiced_character, min(p.name) AS voicing_actress, min(t.title) AS american_movie, count(*) AS matches
FROM other_names AS o, characters AS ch, casts AS c, companies AS co, title_companies AS tc, people AS p, roles AS r, titles AS t
WHERE c.note LIKE '%(voice%' AND co.country = '[us]' AND p.gender = 'f' AND p.name LIKE '%An%' AND r.role = 'actress'
  AND t.production_year BETWEEN 1980 AND 2015 AND c.title_id = t.id AND t.id = tc.title_id AND c.title_id = tc.title_id
  AND tc.company_code = co.code AND c.role_id = r.id AND p.id = c.person_id AND ch.id = c.character_id AND o.person_id = p.id"""),
    "J8": Query("""
SELECT min(ch.name) AS uncredited_character, min(t.title) AS movie, count(*) AS matches
FROM characters AS ch, companies AS co, company_kinds AS ck, casts AS c, title_companies AS tc, roles AS r, titles AS t
WHERE c.note LIKE '%(uncredited)%' AND co.country = '[gb]' AND r.role = 'actor' AND t.production_year > 1960
  AND t.id = tc.title_id AND t.id = c.title_id AND ch.id = c.character_id AND c.role_id = r.id AND co.code = tc.company_code
  AND ck.id = tc.kind_id"""),
    "J9": Query("""
SELECT min(co.name) AS from_company, min(lk.link) AS movie_link_type, min(t.title) AS non_polish_sequel_movie, count(*) AS matches
FROM companies AS co, company_kinds AS ck, keywords AS k, link_kinds AS lk, title_companies AS tc, title_keywords AS tk,
     links AS l, titles AS t
WHERE co.country <> '[fr]' AND (co.name LIKE '%Film%' OR co.name LIKE '%Warner%') AND ck.kind = 'production companies'
  AND k.keyword = 'sequel' AND lk.link LIKE '%follow%' AND t.production_year BETWEEN 1950 AND 2015
  AND lk.id = l.link_kind_id AND l.title_id = t.id AND t.id = tk.title_id AND tk.keyword_id = k.id AND t.id = tc.title_id
  AND tc.kind_id = ck.id AND tc.company_code = co.code AND l.title_id = tk.title_id AND l.title_id = tc.title_id"""),
    "J10": Query("""
SELECT min(co.name) AS movie_company, min(s.score) AS rating, min(t.title) AS drama_movie, count(*) AS matches
FROM companies AS co, company_kinds AS ck, info_kinds AS ik1, info_kinds AS ik2, title_companies AS tc, title_info AS i,
     title_scores AS s, titles AS t
WHERE co.country = '[us]' AND ck.kind = 'production companies' AND ik1.info = 'genres' AND ik2.info = 'rating'
  AND i.info IN ('Drama', 'Horror') AND s.score > 8.0 AND t.production_year BETWEEN 2000 AND 2015
  AND t.id = i.title_id AND t.id = s.title_id AND i.info_kind_id = ik1.id AND s.info_kind_id = ik2.id AND t.id = tc.title_id
  AND ck.id = tc.kind_id AND co.code = tc.company_code"""),
    "J11": Query("""
SELECT min(i.info) AS budget, min(s.score) AS votes, min(p.name) AS writer, min(t.title) AS complete_violent_movie, count(*) AS matches
FROM casts AS c, info_kinds AS ik1, info_kinds AS ik2, keywords AS k, title_info AS i, title_scores AS s, title_keywords AS tk,
     people AS p, titles AS t
WHERE c.note IN ('(writer)', '(story)', '(producer)') AND ik1.info = 'budget' AND ik2.info = 'votes'
  AND k.keyword IN ('murder', 'violence', 'blood', 'gore', 'death', 'female-nudity') AND p.gender = 'm'
  AND t.id = i.title_id AND t.id = s.title_id AND t.id = c.title_id AND t.id = tk.title_id AND p.id = c.person_id
  AND ik1.id = i.info_kind_id AND ik2.id = s.info_kind_id AND k.id = tk.keyword_id"""),
    # The episode and its series are titles both, on different shards.
    "J12": Query("""
SELECT min(series.title) AS series, min(episode.title) AS episode, max(episode.episode) AS number, count(*) AS matches
FROM titles AS episode, titles AS series, kinds AS ke, kinds AS ks, title_scores AS s1, title_scores AS s2
WHERE episode.episode_of = series.id AND ke.id = episode.kind_id AND ks.id = series.kind_id AND ke.kind = 'episode'
  AND ks.kind IN ('tv series', 'movie') AND s1.title_id = episode.id AND s2.title_id = series.id
  AND s1.info_kind_id = s2.info_kind_id AND s1.score > s2.score AND episode.episode BETWEEN 50 AND 100"""),
    "J13": Query("""
SELECT min(co1.name) AS first_company, min(co2.name) AS second_company, min(s1.score) AS first_rating,
       min(s2.score) AS second_rating, min(t1.title) AS first_movie, min(t2.title) AS second_movie, count(*) AS matches
FROM companies AS co1, companies AS co2, link_kinds AS lk, title_companies AS tc1, title_companies AS tc2, title_scores AS s1,
     title_scores AS s2, links AS l, titles AS t1, titles AS t2
WHERE lk.link IN ('follows', 'followed by', 'remake of') AND s2.score < 5.0 AND lk.id = l.link_kind_id AND t1.id = l.title_id
  AND t2.id = l.linked_id AND s1.info_kind_id = 6 AND s2.info_kind_id = 6 AND s1.title_id = t1.id AND s2.title_id = t2.id
  AND tc1.title_id = t1.id AND tc2.title_id = t2.id AND co1.code = tc1.company_code AND co2.code = tc2.company_code"""),
    # Beyond min(): groups, an outer join, an anti-join, and rows.
    "J14": Query("""
SELECT k.keyword, count(*) AS films, count(DISTINCT c.person_id) AS people, min(t.production_year) AS first_year
FROM keywords AS k JOIN title_keywords AS tk ON tk.keyword_id = k.id JOIN titles AS t ON t.id = tk.title_id
  JOIN casts AS c ON c.title_id = t.id JOIN people AS p ON p.id = c.person_id
WHERE p.gender = 'f' AND t.production_year IS NOT NULL AND t.title LIKE '%a%'
GROUP BY k.keyword
HAVING count(*) > 20
ORDER BY films DESC, k.keyword""", (1, 0)),
    "J15": Query("""
SELECT co.country, co.name, count(tc.title_id) AS titles, count(s.score) AS rated, avg(s.score)::numeric(6,3) AS rating
FROM companies AS co LEFT JOIN title_companies AS tc ON tc.company_code = co.code AND tc.note IS NULL
  LEFT JOIN title_scores AS s ON s.title_id = tc.title_id AND s.info_kind_id = 6
WHERE co.country IN ('[de]', '[jp]', '[se]') AND co.name LIKE '%Film%'
GROUP BY co.code, co.country, co.name
HAVING count(s.score) > 0
ORDER BY rating DESC, co.name""", (4, 1)),
    "J16": Query("""
SELECT p.name, t.title, ch.name, t.production_year
FROM people AS p JOIN casts AS c ON c.person_id = p.id JOIN titles AS t ON t.id = c.title_id
  JOIN characters AS ch ON ch.id = c.character_id
WHERE p.born < date '1950-01-01' AND t.production_year > 2000 AND ch.name LIKE 'Queen%'
  AND NOT EXISTS (SELECT 1 FROM title_keywords AS tk JOIN keywords AS k ON k.id = tk.keyword_id
                  WHERE tk.title_id = t.id AND k.keyword IN ('love', 'murder', 'violence'))
  AND p.id IN (SELECT pi.person_id FROM person_info AS pi WHERE pi.info LIKE '%Germany' OR pi.info LIKE '1_5 cm')
ORDER BY p.name, t.production_year DESC, t.title, ch.name""", (0, 3, 1, 2)),
}

WORKLOAD = Workload("join_order", SCHEMA, KEYSPACES, KEYS, load, QUERIES)
