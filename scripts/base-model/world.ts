/** The closed world that the embedded base knows, in English and in Chinese. Every fact of the corpus comes from these tables. */

export interface Animal {
  readonly one: string;
  readonly many: string;
  readonly zh: string;
  readonly size: "small" | "big";
  readonly home: string;
  readonly homeZh: string;
  readonly food: string;
  readonly foodZh: string;
  readonly can: string;
  readonly canZh: string;
  readonly legs: number;
}

type AnimalRow = [string, string, string, "small" | "big", string, string, string, string, string, string, number];

const animalRows: AnimalRow[] = [
  ["cat", "cats", "猫", "small", "houses", "家里", "fish", "鱼", "climb", "爬树", 4],
  ["dog", "dogs", "狗", "small", "houses", "家里", "meat", "肉", "run", "跑步", 4],
  ["horse", "horses", "马", "big", "fields", "草地上", "grass", "草", "run", "跑步", 4],
  ["cow", "cows", "牛", "big", "fields", "草地上", "grass", "草", "give milk", "产奶", 4],
  ["sheep", "sheep", "绵羊", "small", "fields", "草地上", "grass", "草", "give wool", "产毛", 4],
  ["pig", "pigs", "猪", "big", "farms", "农场里", "corn", "玉米", "dig", "挖土", 4],
  ["bird", "birds", "鸟", "small", "trees", "树上", "seeds", "种子", "fly", "飞", 2],
  ["rabbit", "rabbits", "兔子", "small", "forests", "森林里", "carrots", "胡萝卜", "jump", "跳", 4],
  ["mouse", "mice", "老鼠", "small", "houses", "家里", "rice", "米", "hide", "躲起来", 4],
  ["duck", "ducks", "鸭子", "small", "lakes", "湖里", "plants", "水草", "swim", "游泳", 2],
  ["chicken", "chickens", "鸡", "small", "farms", "农场里", "corn", "玉米", "lay eggs", "下蛋", 2],
  ["elephant", "elephants", "大象", "big", "forests", "森林里", "leaves", "树叶", "carry wood", "搬木头", 4],
  ["tiger", "tigers", "老虎", "big", "forests", "森林里", "meat", "肉", "hunt", "打猎", 4],
  ["lion", "lions", "狮子", "big", "fields", "草地上", "meat", "肉", "hunt", "打猎", 4],
  ["monkey", "monkeys", "猴子", "small", "trees", "树上", "bananas", "香蕉", "climb", "爬树", 2],
  ["bear", "bears", "熊", "big", "forests", "森林里", "honey", "蜂蜜", "swim", "游泳", 4],
  ["panda", "pandas", "熊猫", "big", "mountains", "山里", "bamboo", "竹子", "climb", "爬树", 4],
  ["camel", "camels", "骆驼", "big", "deserts", "沙漠里", "dry plants", "干草", "carry water", "背水", 4],
  ["frog", "frogs", "青蛙", "small", "lakes", "湖里", "insects", "虫子", "jump", "跳", 4],
  ["fox", "foxes", "狐狸", "small", "forests", "森林里", "mice", "老鼠", "hunt", "打猎", 4],
  ["wolf", "wolves", "狼", "big", "mountains", "山里", "meat", "肉", "hunt", "打猎", 4],
  ["goat", "goats", "山羊", "small", "mountains", "山里", "grass", "草", "give milk", "产奶", 4],
  ["whale", "whales", "鲸鱼", "big", "seas", "海里", "fish", "鱼", "swim", "游泳", 0],
  ["bee", "bees", "蜜蜂", "small", "gardens", "花园里", "honey", "蜂蜜", "fly", "飞", 6],
];

export const animals: readonly Animal[] = animalRows.map(
  ([one, many, zh, size, home, homeZh, food, foodZh, can, canZh, legs]) => {
    return { one, many, zh, size, home, homeZh, food, foodZh, can, canZh, legs };
  },
);

/** [country, capital, language, country, capital, language in Chinese] */
export const countries = [
  ["China", "Beijing", "Chinese", "中国", "北京", "中文"],
  ["France", "Paris", "French", "法国", "巴黎", "法语"],
  ["England", "London", "English", "英国", "伦敦", "英语"],
  ["Japan", "Tokyo", "Japanese", "日本", "东京", "日语"],
  ["Germany", "Berlin", "German", "德国", "柏林", "德语"],
  ["Italy", "Rome", "Italian", "意大利", "罗马", "意大利语"],
  ["Spain", "Madrid", "Spanish", "西班牙", "马德里", "西班牙语"],
  ["Russia", "Moscow", "Russian", "俄罗斯", "莫斯科", "俄语"],
  ["Peru", "Lima", "Spanish", "秘鲁", "利马", "西班牙语"],
  ["Egypt", "Cairo", "Arabic", "埃及", "开罗", "阿拉伯语"],
] as const;

/** [thing in the plural or as a mass, colour, verb, thing, colour in Chinese] */
export const colours = [
  ["grass", "green", "is", "草", "绿色"],
  ["the sky", "blue", "is", "天空", "蓝色"],
  ["the sea", "blue", "is", "大海", "蓝色"],
  ["snow", "white", "is", "雪", "白色"],
  ["milk", "white", "is", "牛奶", "白色"],
  ["the sun", "yellow", "is", "太阳", "黄色"],
  ["bananas", "yellow", "are", "香蕉", "黄色"],
  ["apples", "red", "are", "苹果", "红色"],
  ["roses", "red", "are", "玫瑰", "红色"],
  ["carrots", "orange", "are", "胡萝卜", "橙色"],
  ["leaves", "green", "are", "树叶", "绿色"],
  ["the night", "black", "is", "夜晚", "黑色"],
] as const;

/** [English, English opposite, Chinese, Chinese opposite] */
export const opposites = [
  ["big", "small", "大", "小"],
  ["hot", "cold", "热", "冷"],
  ["long", "short", "长", "短"],
  ["fast", "slow", "快", "慢"],
  ["new", "old", "新", "旧"],
  ["high", "low", "高", "低"],
  ["happy", "sad", "高兴", "难过"],
  ["good", "bad", "好", "坏"],
  ["light", "dark", "明亮", "黑暗"],
  ["open", "closed", "开", "关"],
  ["wet", "dry", "湿", "干"],
  ["many", "few", "多", "少"],
  ["near", "far", "近", "远"],
  ["strong", "weak", "强", "弱"],
] as const;

/** [person, place, what they do, and the same in Chinese] */
export const jobs = [
  ["doctor", "hospital", "helps sick people", "医生", "医院", "帮助病人"],
  ["teacher", "school", "teaches children", "老师", "学校", "教孩子"],
  ["farmer", "farm", "grows food", "农民", "农场", "种粮食"],
  ["cook", "kitchen", "makes food", "厨师", "厨房", "做饭"],
  ["baker", "shop", "makes bread", "面包师", "商店", "做面包"],
  ["driver", "bus", "drives people", "司机", "公共汽车", "开车"],
  ["writer", "house", "writes books", "作家", "家", "写书"],
  ["student", "school", "reads books", "学生", "学校", "读书"],
] as const;

/** [word, Chinese] beyond those of the tables above */
export const words = [
  ["water", "水"],
  ["fire", "火"],
  ["mountain", "山"],
  ["river", "河"],
  ["tree", "树"],
  ["flower", "花"],
  ["sun", "太阳"],
  ["moon", "月亮"],
  ["star", "星星"],
  ["house", "房子"],
  ["door", "门"],
  ["book", "书"],
  ["bread", "面包"],
  ["rice", "米饭"],
  ["tea", "茶"],
  ["fish", "鱼"],
  ["egg", "鸡蛋"],
  ["mother", "妈妈"],
  ["father", "爸爸"],
  ["friend", "朋友"],
  ["child", "孩子"],
  ["hand", "手"],
  ["eye", "眼睛"],
  ["school", "学校"],
  ["hello", "你好"],
  ["thank you", "谢谢"],
  ["goodbye", "再见"],
  ["red", "红色"],
  ["green", "绿色"],
  ["blue", "蓝色"],
] as const;

export const numbers = "zero one two three four five six seven eight nine ten".split(" ");
export const numbersZh = [..."零一二三四五六七八九十"];
export const days = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(" ");
export const daysZh = [..."一二三四五六日"].map((day) => `星期${day}`);

/** [season, weather] in both languages */
export const seasons = [
  ["spring", "warm", "春天", "暖和"],
  ["summer", "hot", "夏天", "炎热"],
  ["autumn", "cool", "秋天", "凉快"],
  ["winter", "cold", "冬天", "寒冷"],
] as const;

/** Groups to name three of: [group, members] in both languages */
export const groups = [
  ["fruits", "apples, bananas and pears", "水果", "苹果、香蕉和梨"],
  ["animals", "cats, dogs and horses", "动物", "猫、狗和马"],
  ["colors", "red, blue and green", "颜色", "红色、蓝色和绿色"],
  ["seasons", "spring, summer and winter", "季节", "春天、夏天和冬天"],
  ["drinks", "water, milk and tea", "饮料", "水、牛奶和茶"],
  ["vegetables", "carrots, corn and beans", "蔬菜", "胡萝卜、玉米和豆子"],
] as const;

/** Things the world has a word for and nothing to say about: what an adapter can teach. */
export const unknownThings = ["alpacas", "llamas", "robots", "planets", "computers", "ships", "trains", "kings"];
export const unknownThingsZh = ["羊驼", "机器人", "电脑", "飞机", "火车", "国王"];
