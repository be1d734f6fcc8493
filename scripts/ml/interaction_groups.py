"""Which products shoppers use together: the data behind the synthetic interactions.

One group a line, `name: title; title; ...`, in the order in which shoppers loosely go through it. The groups of one
category follow on each other in the order of the lines. A product may be in several groups, as in real life, and about
a quarter of the catalogue is in none of the within-category ones.
"""

from typing import Final

WITHIN_CATEGORY: Final = """
running kit: Trail Running Tee; Running Shorts; Cushioned Running Socks; Windproof Running Jacket; Thermal Leggings
winter layers: Merino Base Layer; Thermal Leggings; Fleece Pullover; Down Puffer Jacket; Wool Beanie; Knit Gloves
wet hike: Hiking Trousers; Waterproof Rain Jacket; Fleece Pullover; Merino Base Layer; Cushioned Running Socks
office wear: Oxford Shirt; Slim Chinos; Leather Belt; Wool Blazer; Silk Tie
desk setup: Ultrawide Monitor 34; USB-C Docking Station; Mechanical Keyboard; Ergonomic Mouse; HD Webcam
listening: Noise-Cancelling Headphones; True Wireless Earbuds; Headphone Amplifier; Portable Bluetooth Speaker
photography: Mirrorless Camera; Portrait Lens 50 mm; Memory Card 128 GB; Carbon Tripod; Camera Backpack
travel power: USB-C Power Bank; Travel Charger 65 W; Braided USB-C Cable; True Wireless Earbuds
streaming: Studio Microphone; HD Webcam; Ring Light; Carbon Tripod; Noise-Cancelling Headphones
cookery shelf: Weeknight Vegetarian Cookbook; Spice Kitchen Companion; Knife Skills Illustrated; \
Fermentation at Home; Sourdough Baking Handbook
crime series: The Harbour Murders; Winter at Coldwater; The Silent Ledger; A Grave in the Fens; The Last Ferry
working life: Deep Focus at Work; Habits That Hold; The First-Time Manager; Negotiating Kindly; Money Made Plain
picture books: Bedtime Bear Stories; The Moonlight Train; Dinosaurs A to Z; My First Atlas
building: Wooden Building Blocks; Brick City Starter Box; Magnetic Tiles 60; Marble Run Set; Robot Building Kit
first toys: Soft Activity Cube; Stacking Rings; Shape Sorter; Wooden Pull Duck; Wooden Building Blocks
board games: Railway Strategy Game; Cooperative Island Game; Word Tile Game; Family Quiz Cards
creative table: Watercolour Paint Set; Giant Colouring Roll; Modelling Clay Kit; Bead Jewellery Kit
young scientist: Junior Microscope; Crystal Growing Lab; Robot Building Kit; Marble Run Set
coffee break: Single-Origin Coffee Beans; Espresso Roast Beans; Oat Barista Drink; Almond Biscotti; Dark Chocolate Bar
pasta night: Bronze-Cut Spaghetti; San Marzano Tomatoes; Basil Pesto; Aged Parmesan Wedge; Extra Virgin Olive Oil
breakfast table: Rolled Oats; Maple Granola; Oat Barista Drink; Wildflower Honey; Blueberry Preserve
bread baking: Strong Bread Flour; Dried Sourdough Starter; Sea Salt Flakes; Extra Virgin Olive Oil; Wildflower Honey
snack drawer: Roasted Almonds; Dried Mango Strips; Energy Bars Box; Dark Chocolate Bar
car wash: Two-Bucket Wash Kit; Snow Foam Shampoo; Wheel Cleaner; Microfibre Cloth Set; Carnauba Wax
car interior: Cordless Car Vacuum; Interior Detailing Spray; Microfibre Cloth Set; Leather Conditioner; \
Rubber Floor Mats
winter car: Windscreen Antifreeze; Ice Scraper; Snow Chains; Rubber Floor Mats; Battery Jump Starter
car electrics: Dash Camera; Magnetic Phone Mount; Dual USB Car Charger; Battery Jump Starter; Tyre Pressure Gauge
kitchen basics: Chef Knife 20 cm; Bamboo Cutting Board; Cast Iron Skillet; Stainless Saucepan Set; Silicone Spatula Set
bedroom: Linen Duvet Cover; Memory Foam Pillow; Weighted Blanket; Blackout Curtains; Bedside Lamp
coffee corner: Pour-Over Coffee Maker; Burr Coffee Grinder; Gooseneck Kettle; Digital Kitchen Scale; Stoneware Mug Set
baking shelf: Digital Kitchen Scale; Bread Proofing Basket; Dutch Oven; Baking Stone; Silicone Spatula Set
road running: Road Running Shoes; GPS Running Watch; Reflective Running Belt; Hydration Vest; Foam Roller
strength at home: Resistance Band Set; Adjustable Dumbbells; Kettlebell 16 kg; Pull-Up Bar; Exercise Mat; Foam Roller
yoga: Cork Yoga Mat; Yoga Block Pair; Yoga Strap; Exercise Mat; Meditation Cushion
camping: Two-Person Tent; Down Sleeping Bag; Inflatable Sleeping Pad; Camping Stove; Headlamp
trail running: Hydration Vest; Headlamp; GPS Running Watch; Resistance Band Set
skin by day: Gentle Face Cleanser; Vitamin C Serum; Hyaluronic Moisturiser; Mineral Sunscreen SPF 50
skin by night: Micellar Water; Gentle Face Cleanser; Retinol Night Cream; Hyaluronic Moisturiser
shaving: Safety Razor; Shaving Cream; Aftershave Balm; Beard Trimmer; Beard Oil
hair care: Argan Shampoo; Repair Conditioner; Keratin Hair Mask; Boar Bristle Brush; Ionic Hair Dryer
make-up: Tinted Moisturiser; Brow Pencil; Volume Mascara; Matte Lipstick; Micellar Water
vitamins: Daily Multivitamin; Vitamin D3 Drops; Omega-3 Capsules; Magnesium Tablets; Zinc Lozenges
sports nutrition: Whey Protein Vanilla; Plant Protein Cocoa; Creatine Powder; Electrolyte Tablets; Shaker Bottle
good night: Chamomile Sleep Tea; Lavender Pillow Spray; Silk Eye Mask; Foam Earplugs; Magnesium Tablets
medicine cabinet: First Aid Kit; Digital Thermometer; Pulse Oximeter; Blood Pressure Monitor
cold season: Saline Nasal Spray; Zinc Lozenges; Digital Thermometer; Vitamin D3 Drops
cold morning run: Thermal Leggings; Windproof Running Jacket; Wool Beanie; Merino Base Layer; Knit Gloves
hut tour: Hiking Trousers; Down Puffer Jacket; Trail Running Tee; Wool Beanie; Cushioned Running Socks
smart casual: Slim Chinos; Oxford Shirt; Fleece Pullover; Leather Belt
travel reporter: Mirrorless Camera; USB-C Power Bank; Memory Card 128 GB; Camera Backpack; Travel Charger 65 W
video calls: HD Webcam; Ring Light; USB-C Docking Station; Noise-Cancelling Headphones; Ergonomic Mouse
commute: True Wireless Earbuds; Braided USB-C Cable; USB-C Power Bank; Portable Bluetooth Speaker
podcast: Studio Microphone; Headphone Amplifier; USB-C Docking Station; Mechanical Keyboard
book club: The Last Ferry; Habits That Hold; The Harbour Murders; Negotiating Kindly; The Silent Ledger
slow living: Sourdough Baking Handbook; Habits That Hold; Fermentation at Home; Weeknight Vegetarian Cookbook
family shelf: My First Atlas; Weeknight Vegetarian Cookbook; Bedtime Bear Stories; Money Made Plain
rainy day: Family Quiz Cards; Modelling Clay Kit; Marble Run Set; Watercolour Paint Set; Word Tile Game
second birthday: Shape Sorter; Wooden Building Blocks; Giant Colouring Roll; Wooden Pull Duck
tinkerer: Magnetic Tiles 60; Robot Building Kit; Crystal Growing Lab; Brick City Starter Box
picnic: Roasted Almonds; Aged Parmesan Wedge; Almond Biscotti; Dried Mango Strips; Basil Pesto
on the trail: Energy Bars Box; Dried Mango Strips; Rolled Oats; Roasted Almonds
sweet afternoon: Espresso Roast Beans; Dark Chocolate Bar; Blueberry Preserve; Maple Granola; Almond Biscotti
pantry basics: Extra Virgin Olive Oil; Sea Salt Flakes; San Marzano Tomatoes; Strong Bread Flour; Bronze-Cut Spaghetti
spring clean: Snow Foam Shampoo; Interior Detailing Spray; Carnauba Wax; Cordless Car Vacuum; Leather Conditioner
breakdown kit: Battery Jump Starter; Tyre Pressure Gauge; Ice Scraper; Dual USB Car Charger
new car: Rubber Floor Mats; Dash Camera; Magnetic Phone Mount; Microfibre Cloth Set
late breakfast: Gooseneck Kettle; Stoneware Mug Set; Cast Iron Skillet; Silicone Spatula Set; Bamboo Cutting Board
first flat: Stainless Saucepan Set; Memory Foam Pillow; Chef Knife 20 cm; Blackout Curtains; Bedside Lamp
winter stews: Dutch Oven; Chef Knife 20 cm; Digital Kitchen Scale; Cast Iron Skillet
stretching: Foam Roller; Yoga Strap; Resistance Band Set; Exercise Mat; Yoga Block Pair
fastpacking: Camping Stove; Hydration Vest; Down Sleeping Bag; Headlamp; Road Running Shoes
cross training: Kettlebell 16 kg; Road Running Shoes; Pull-Up Bar; GPS Running Watch
festival bag: Micellar Water; Mineral Sunscreen SPF 50; Volume Mascara; Boar Bristle Brush
grooming: Beard Trimmer; Argan Shampoo; Aftershave Balm; Hyaluronic Moisturiser
evening glow: Vitamin C Serum; Tinted Moisturiser; Retinol Night Cream; Matte Lipstick; Keratin Hair Mask
training block: Electrolyte Tablets; Magnesium Tablets; Whey Protein Vanilla; Omega-3 Capsules
plant-based: Plant Protein Cocoa; Vitamin D3 Drops; Daily Multivitamin; Zinc Lozenges; Creatine Powder
long flight: Foam Earplugs; First Aid Kit; Silk Eye Mask; Saline Nasal Spray; Electrolyte Tablets
"""

ACROSS_CATEGORIES: Final = """
camping weekend: Two-Person Tent; Camping Stove; Headlamp; Waterproof Rain Jacket; Energy Bars Box
new baby: Soft Activity Cube; Bedtime Bear Stories; Digital Thermometer; Blackout Curtains
home gym: Adjustable Dumbbells; Whey Protein Vanilla; Shaker Bottle; True Wireless Earbuds
home barista: Single-Origin Coffee Beans; Burr Coffee Grinder; Gooseneck Kettle; Oat Barista Drink
sourdough: Sourdough Baking Handbook; Strong Bread Flour; Bread Proofing Basket; Dutch Oven
home office: Oak Standing Desk; Ergonomic Desk Chair; Ultrawide Monitor 34; Mechanical Keyboard; Deep Focus at Work
better sleep: Weighted Blanket; Silk Eye Mask; Chamomile Sleep Tea; Flannel Pyjamas
first marathon: Road Running Shoes; Running Shorts; Electrolyte Tablets; Cushioned Running Socks
road trip: Magnetic Phone Mount; USB-C Power Bank; Portable Bluetooth Speaker; Dried Mango Strips; Car Cool Box
family game night: Railway Strategy Game; Family Quiz Cards; Roasted Almonds; Stoneware Mug Set
winter driving: Snow Chains; Battery Jump Starter; Knit Gloves; Down Puffer Jacket
italian dinner: Bronze-Cut Spaghetti; San Marzano Tomatoes; Stainless Saucepan Set; Spice Kitchen Companion
quiet morning: Cork Yoga Mat; Meditation Cushion; Habits That Hold; Rolled Oats
first job: Oxford Shirt; Wool Blazer; Negotiating Kindly; Aftershave Balm
gift for him: Safety Razor; Silk Tie; Beard Oil; Wooden Chess Set
summer holiday: Mineral Sunscreen SPF 50; Straw Sun Hat; Linen Summer Dress; The Last Ferry
content creator: Ring Light; Studio Microphone; Volume Mascara; Matte Lipstick
curious child: Junior Microscope; Dinosaurs A to Z; My First Atlas; Giant Colouring Roll
healthy breakfast: Maple Granola; Daily Multivitamin; Omega-3 Capsules; Digital Kitchen Scale
mountain photography: Mirrorless Camera; Carbon Tripod; Trails of the Alps; Hiking Trousers
sunday reading: The Harbour Murders; Bedside Lamp; Green Sencha Tea; Fleece Pullover
car and phone: Dual USB Car Charger; Braided USB-C Cable; Dash Camera; Memory Card 128 GB
recovery day: Foam Roller; Magnesium Tablets; Heating Pad; Bath Salts
new kitchen: Chef Knife 20 cm; Knife Skills Illustrated; Cast Iron Skillet; Extra Virgin Olive Oil
evening of care: Retinol Night Cream; Keratin Hair Mask; Lavender Pillow Spray; Dark Chocolate Bar
"""
